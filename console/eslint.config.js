import js from "@eslint/js";
import hooks from "eslint-plugin-react-hooks";
import ts from "typescript-eslint";

export default ts.config(
  { ignores: ["node_modules", "scripts", "eslint.config.js"] },
  js.configs.recommended,
  ...ts.configs.strictTypeChecked,
  { languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } } },
  hooks.configs["recommended-latest"],
  {
    rules: {
      // Numbers in texts are what most texts here are made of.
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      // `onClick={() => setOpen(true)}` is how handlers are written.
      "@typescript-eslint/no-confusing-void-expression": ["error", { ignoreArrowShorthand: true }],
      "@typescript-eslint/no-misused-promises": ["error", { checksVoidReturn: { attributes: false } }],
      // Code points are what the server counts.
      "@typescript-eslint/no-misused-spread": ["error", { allow: ["string"] }],
    },
  },
  // Generated: an action without parameters, or with an empty answer, has an empty type.
  {
    files: ["src/api/types.ts", "src/api/answers.ts"],
    rules: { "@typescript-eslint/no-generated-empty-object-type": "off" },
  },
  // Types that are `never` where all is well are what it checks by.
  {
    files: ["src/api/answers.check.ts"],
    rules: {
      "@typescript-eslint/no-duplicate-type-constituents": "off",
      "@typescript-eslint/no-redundant-type-constituents": "off",
    },
  },
);

import { fileURLToPath } from "node:url";

import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

const server = process.env["DRYSTONE_ENDPOINT"] ?? "http://127.0.0.1:8080";

export default defineConfig({
  plugins: [react()],
  base: "/console/",
  resolve: {
    alias: [{ find: /^tdesign-icons-react$/, replacement: fileURLToPath(new URL("src/parts/icons.ts", import.meta.url)) }],
  },
  build: {
    // Shipped inside the Python package, which serves it.
    outDir: "../src/drystone/console_files",
    emptyOutDir: true,
    target: "es2022",
    sourcemap: false,
    // A data: address is not allowed by the server's Content-Security-Policy.
    assetsInlineLimit: 0,
    rollupOptions: {
      output: {
        // Libraries change less often than pages: browsers keep them across versions of Drystone.
        manualChunks: (id) => (/node_modules\/(react|react-dom|scheduler|react-router)\//.test(id) ? "react" : undefined),
      },
    },
  },
  server: { proxy: { "/console/api": server } },
  // Slow machines are slow: a test that hangs is one that takes a minute.
  test: { include: ["src/**/*.test.ts", "src/**/*.test.tsx"], testTimeout: 60_000 },
});

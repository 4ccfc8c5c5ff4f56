/** Stones that hold without mortar. */
export function Logo() {
  return (
    <svg className="logo" viewBox="0 0 32 32" aria-hidden="true">
      <path d="M3 22.500 5 19h8l1.500 3.500L13 27H4z" />
      <path d="M16 27l1-5 2-3h8l2 4-1 4z" opacity=".78" />
      <path d="M8 17.500 9.500 13h9l2 4.500z" opacity=".88" />
      <path d="M21.500 17.500 20.500 13l3-1.500L28 13l.5 4.500z" opacity=".6" />
      <path d="M11 11.500 12 6l7-1 2.500 6.500z" opacity=".7" />
    </svg>
  );
}

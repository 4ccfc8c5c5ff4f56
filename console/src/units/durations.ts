/** `340 ms`, `4.2 s`, `3 min 20 s`, `2 h 5 min`, of milliseconds. */
export function duration(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return "–";
  if (ms < 1) return `${Number(ms.toFixed(2))} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 59.95) return `${Number(seconds.toFixed(1))} s`;
  const minutes = Math.floor(Math.round(seconds) / 60);
  if (minutes < 60) return joined(minutes, "min", Math.round(seconds) % 60, "s");
  return joined(Math.floor(minutes / 60), "h", minutes % 60, "min");
}

function joined(large: number, unit: string, small: number, part: string): string {
  return small === 0 ? `${large} ${unit}` : `${large} ${unit} ${small} ${part}`;
}

/** How long something still takes that is at `percent` after `elapsedMs`; null while that cannot be said. */
export function remaining(percent: number, elapsedMs: number): number | null {
  return percent < 3 || percent >= 100 || elapsedMs <= 0 ? null : (elapsedMs * (100 - percent)) / percent;
}

// Small pictures in SVG: no library, no canvas, nothing that a screen reader cannot be told in a sentence.
import { useState } from "react";

const WIDTH = 640;
const HEIGHT = 160;
const LEFT = 4;
const TOP = 10;
const BOTTOM = 22;

type Point = { readonly at: Date; readonly value: number };

type AreaProps = {
  readonly label: string;
  readonly points: readonly Point[];
  readonly format: (value: number) => string;
  readonly formatTime: (at: Date) => string;
  readonly of?: "bytes" | "count";
};

const STEPS = [2, 4, 6, 8, 10] as const;

/** The least round number that is not below a value and whose half is round too; of bytes, in units of 1,024. */
export function scaleTop(value: number, of: "bytes" | "count"): number {
  let unit = 1;
  if (of === "bytes") while (value / unit > 1024) unit *= 1024;
  const inUnit = Math.max(value / unit, 1);
  const power = 10 ** Math.ceil(Math.log10(inUnit) - 1);
  const round = STEPS.map((step) => step * power).find((one) => one >= inUnit) ?? inUnit;
  const top = of === "bytes" && round === 1000 ? 1024 : round;
  return (of === "count" ? Math.max(2, top) : top) * unit;
}

/** A value over time. */
export function AreaChart({ label, points, format, formatTime, of = "bytes" }: AreaProps) {
  const [at, setAt] = useState<number | null>(null);
  const first = points[0];
  const last = points.at(-1);
  if (first === undefined || last === undefined) return null;
  const from = first.at.getTime();
  const span = Math.max(1, last.at.getTime() - from);
  const top = scaleTop(Math.max(...points.map((point) => point.value)), of);
  const x = (point: Point) => LEFT + ((WIDTH - 2 * LEFT) * (point.at.getTime() - from)) / span;
  const y = (point: Point) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - point.value / top);
  const line = points.map((point, index) => `${index === 0 ? "M" : "L"}${x(point).toFixed(1)} ${y(point).toFixed(1)}`).join("");
  const floor = HEIGHT - BOTTOM;
  const shown = points[at ?? points.length - 1] ?? last;
  const nearest = (fraction: number) => {
    const time = from + span * Math.min(1, Math.max(0, fraction));
    let best = 0;
    points.forEach((point, index) => {
      const old = points[best];
      if (old && Math.abs(point.at.getTime() - time) < Math.abs(old.at.getTime() - time)) best = index;
    });
    return best;
  };
  const said = `${label}: ${format(first.value)} (${formatTime(first.at)}) – ${format(last.value)} (${formatTime(last.at)})`;
  return (
    <figure className="chart">
      <figcaption>
        <span>{label}</span>
        <strong>{format(shown.value)}</strong>
        <small>{at === null ? "" : formatTime(shown.at)}</small>
      </figcaption>
      <div className="chart__plot">
        <div className="chart__scale" aria-hidden="true">
          {[1, 0.5, 0].map((part) => (
            <span key={part}>{format(top * part)}</span>
          ))}
        </div>
        <svg
          viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
          role="img"
          aria-label={said}
          preserveAspectRatio="none"
          onPointerMove={(event) => {
            const place = event.currentTarget.getBoundingClientRect();
            setAt(nearest((event.clientX - place.left) / place.width));
          }}
          onPointerLeave={() => setAt(null)}
        >
          {[0.25, 0.5, 0.75, 1].map((part) => {
            const height = TOP + (floor - TOP) * (1 - part);
            return <line key={part} className="chart__grid" x1={LEFT} x2={WIDTH - LEFT} y1={height} y2={height} />;
          })}
          <line className="chart__axis" x1={LEFT} x2={WIDTH - LEFT} y1={floor} y2={floor} />
          <path className="chart__area" d={`${line}L${x(last).toFixed(1)} ${floor}L${x(first).toFixed(1)} ${floor}Z`} />
          <path className="chart__line" d={line} vectorEffect="non-scaling-stroke" />
          {at !== null && (
            <line className="chart__mark" x1={x(shown)} x2={x(shown)} y1={TOP} y2={floor} vectorEffect="non-scaling-stroke" />
          )}
        </svg>
      </div>
      <div className="chart__ends" aria-hidden="true">
        <span>{formatTime(first.at)}</span>
        <span>{formatTime(last.at)}</span>
      </div>
    </figure>
  );
}

export type Part = { readonly name: string; readonly value: number; readonly tone: "stored" | "compression" | "increments" | "free" };

/** Parts of a whole, side by side, with their names below. */
export function PartsBar({ label, parts, format }: { readonly label: string; readonly parts: readonly Part[]; readonly format: (value: number) => string }) {
  const whole = parts.reduce((sum, part) => sum + Math.max(0, part.value), 0);
  const said = `${label}: ${parts.map((part) => `${part.name} ${format(part.value)}`).join(", ")}`;
  return (
    <div className="parts">
      <div className="parts__bar" role="img" aria-label={said}>
        {parts.map((part) => (
          <span
            key={part.tone}
            className={`tone--${part.tone}`}
            style={{ flexGrow: whole > 0 ? Math.max(0, part.value) / whole : 0 }}
          />
        ))}
      </div>
      <ul>
        {parts.map((part) => (
          <li key={part.tone}>
            <i className={`tone--${part.tone}`} aria-hidden="true" />
            <span>{part.name}</span>
            <strong>{format(part.value)}</strong>
          </li>
        ))}
      </ul>
    </div>
  );
}

const MAP_COLUMNS = 64;

/** How full a bucket's colour is: a changed block must be seen even where it is one of thousands. */
export function shade(changed: number, bucket: number): number {
  if (changed <= 0 || bucket <= 0) return 0;
  return Math.min(1, 0.25 + 0.75 * Math.sqrt(Math.min(1, changed / bucket)));
}

/** A disk from its first byte to its last, row by row: the fuller a square, the more of it changed. */
export function DiskMap({ label, buckets, bucketBytes, describe }: {
  readonly label: string;
  readonly buckets: readonly number[];
  readonly bucketBytes: number;
  readonly describe: (index: number) => string;
}) {
  const columns = Math.min(MAP_COLUMNS, Math.max(1, buckets.length));
  const rows = Math.ceil(buckets.length / columns);
  return (
    <svg className="disk-map" viewBox={`0 0 ${columns * 10} ${rows * 10}`} role="img" aria-label={label}>
      {buckets.map((changed, index) => (
        <rect
          key={index}
          x={(index % columns) * 10 + 0.5}
          y={Math.floor(index / columns) * 10 + 0.5}
          width={9}
          height={9}
          rx={1.5}
          className={changed > 0 ? "disk-map__changed" : "disk-map__same"}
          fillOpacity={changed > 0 ? shade(changed, bucketBytes) : 1}
        >
          <title>{describe(index)}</title>
        </rect>
      ))}
    </svg>
  );
}

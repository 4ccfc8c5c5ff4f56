import type { AnswerOf } from "../../api/answers";
import { useWords } from "../../words";
import { weekday } from "./policyForm";

type Simulation = AnswerOf<"drystone", "DescribePolicySimulation">;

/** A month and more of days: what is taken, and how many snapshots there are at the end of each. */
export function Calendar({ simulation }: { readonly simulation: Simulation }) {
  const { t, locale } = useWords();
  const days = simulation.SimulatedPolicyDaySet;
  const first = days[0];
  if (first === undefined) return null;
  // Weeks begin on Monday.
  const before = (new Date(`${first.Date}T00:00:00Z`).getUTCDay() + 6) % 7;
  return (
    <div className="calendar">
      <p className="field__hint">{t("policy.calendarText", { days: days.length })}</p>
      <ol className="calendar__days">
        {[1, 2, 3, 4, 5, 6, 0].map((day) => (
          <li key={`head-${day}`} className="calendar__head" aria-hidden="true">
            {weekday(day, locale)}
          </li>
        ))}
        {Array.from({ length: before }, (_, index) => (
          <li key={`before-${index}`} aria-hidden="true" />
        ))}
        {days.map((day) => (
          <li key={day.Date} className={day.RunTimes.length > 0 ? "calendar__day calendar__day--runs" : "calendar__day"}>
            <span className="unseen">{t("policy.dayText", { date: day.Date, runs: day.RunTimes.length, gone: day.GoneTimes.length, kept: day.Kept })}</span>
            <span aria-hidden="true">
              <small>{day.Date.slice(5)}</small>
              <strong>{day.Kept}</strong>
              <small>{`${day.RunTimes.length > 0 ? `+${day.RunTimes.length}` : ""}${day.GoneTimes.length > 0 ? ` −${day.GoneTimes.length}` : ""}`}</small>
            </span>
          </li>
        ))}
      </ol>
    </div>
  );
}

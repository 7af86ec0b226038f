/** The report: one self-contained page that shows what there is, leaves out what there is not, and lets no text break it. */
import { expect, test } from "vitest";
import { readPackageText } from "../../formats/package-text.ts";
import { curves } from "./curves.ts";
import { escape, renderPage } from "./page.ts";

const uplot = {
  script: readPackageText("uplot", "dist/uPlot.iife.min.js"),
  style: readPackageText("uplot", "dist/uPlot.min.css"),
};

test("charts take what they find; what is not a number leaves a gap", () => {
  const steps = [
    { step: 1, loss: 0.7, lr: 0 },
    { step: 2, loss: null, lr: 1e-4 },
    { step: 3, loss: 0.5, lr: NaN },
  ];
  const charts = curves(steps, [
    { step: 0, "eval/loss": 0.69, reward: 0.1, kl: 0 },
    { step: 3, "eval/loss": 0.6, reward: 0.4, kl: 2 },
  ]);
  expect(charts.map((c) => c.title)).toEqual([
    "Loss",
    "Mean reward of samples",
    "KL to the reference, nats a sequence",
    "Learning rate",
    "Reward against KL",
  ]);
  expect(charts[0]).toMatchObject({
    xs: [0, 1, 3],
    series: [
      { label: "training", values: [null, 0.7, 0.5] },
      { label: "held out", values: [0.69, null, 0.6] },
    ],
  });
  expect(curves([], [])).toEqual([]);
});

test("long runs are thinned, first and last step kept", () => {
  const [chart] = curves(
    Array.from({ length: 10_001 }, (_, i) => ({ step: i + 1, loss: i })),
    [],
  );
  expect(chart.xs.length).toBeLessThan(1100);
  expect([chart.xs[0], chart.xs.at(-1)]).toEqual([1, 10_001]);
});

test("text cannot leave its place, and the page fetches nothing", () => {
  const evil = '</script><script>alert("x")</script>\u2028';
  const page = renderPage({
    title: evil,
    body: `<p>${escape(evil)}</p>`,
    charts: [{ title: evil, x: "step", xs: [1], series: [{ label: evil, values: [1] }] }],
    uplot,
  });
  expect(page).not.toContain('alert("x")</script>');
  expect(page.match(/<\/script>/g)).toHaveLength(2);
  expect(page).not.toMatch(/(src|href)=["']?https?:/);
});

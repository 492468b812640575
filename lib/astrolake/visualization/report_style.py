"""The style sheet of the report."""

CSS = """
:root { --ink: #1b2430; --muted: #566173; --line: #dfe4ea; --soft: #f5f7fa; --accent: #0b5cad; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: #fff; color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main, footer { max-width: 54rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding: 2.5rem 0 0.5rem; }
h1 { margin: 0; font-size: clamp(1.7rem, 4.5vw, 2.5rem); line-height: 1.15; letter-spacing: -0.015em; }
h2 { margin: 0 0 0.6rem; font-size: 1.3rem; letter-spacing: -0.01em; }
.lead { margin: 0.6rem 0 0; max-width: 44rem; font-size: 1.1rem; color: var(--ink); }
.made { margin: 0.4rem 0 0; color: var(--muted); font-size: 0.92rem; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: 0.75rem;
  margin: 1.6rem 0 0; }
.facts div { display: flex; flex-direction: column-reverse; justify-content: flex-end;
  padding: 0.8rem 1rem; background: var(--soft);
  border-top: 3px solid var(--accent); border-radius: 0 0 6px 6px; }
.facts dd { margin: 0; font-size: 1.65rem; font-weight: 650; line-height: 1.2;
  font-variant-numeric: tabular-nums; }
.facts dt { color: var(--muted); font-size: 0.92rem; }
section { padding: 1.9rem 0 0.4rem; border-top: 1px solid var(--line); margin-top: 1.6rem; }
header + section { margin-top: 2rem; }
section > p { margin: 0 0 0.9rem; max-width: 46rem; color: var(--muted); }
figure { margin: 0; }
figure img { display: block; width: 100%; height: auto; }
figcaption { max-width: 46rem; margin: 0.8rem 0 0; color: var(--muted); font-size: 0.95rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.94rem; }
th, td { padding: 0.45rem 0.8rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
th { vertical-align: bottom; color: var(--muted); font-weight: 600; border-bottom: 2px solid var(--line); }
tbody tr:nth-child(even) { background: var(--soft); }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
pre { margin: 0 0 0.9rem; padding: 0.9rem 1rem; overflow-x: auto; background: var(--soft);
  border-left: 3px solid var(--accent); border-radius: 0 6px 6px 0; }
code { font: 0.87rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.skipped { margin: 0; padding-left: 1.2rem; }
.skipped li { margin: 0.3rem 0; }
footer { margin-top: 2.2rem; padding-top: 1rem; padding-bottom: 2.5rem; border-top: 1px solid var(--line);
  color: var(--muted); font-size: 0.9rem; overflow-wrap: anywhere; }
footer p { margin: 0; }
@media (max-width: 40rem) {
  main, footer { padding-left: 1rem; padding-right: 1rem; }
  header { padding-top: 1.6rem; }
  .facts { grid-template-columns: 1fr 1fr; }
  table { font-size: 0.84rem; }
  th, td { padding: 0.4rem 0.3rem; }
  pre { white-space: pre-wrap; }
}
@media print {
  @page { margin: 15mm; }
  body { font-size: 10.5pt; }
  main, footer { max-width: none; padding: 0; }
  header { padding-top: 0; }
  section { margin-top: 1rem; padding-top: 1rem; }
  figure, tr, pre, .facts div { break-inside: avoid; }
  h2 { break-after: avoid; }
  figure img { width: auto; max-width: 100%; max-height: 19cm; }
  .wide, pre { overflow: visible; white-space: pre-wrap; }
  .facts div, tbody tr:nth-child(even), pre { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
}
"""

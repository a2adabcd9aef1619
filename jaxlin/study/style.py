"""The page's style: one column on a phone, two on a desk; light and dark as the reader has it."""

STYLE = """
:root {
  color-scheme: light dark;
  --bg: #f6f7f9; --card: #ffffff; --text: #1b2230; --soft: #5d6879; --line: #dfe3ea;
  --grid: #e8ebf0; --mark: #fff3d6; --accent: #2563eb;
}
@media (prefers-color-scheme: dark) {
  :root {
    --bg: #11151c; --card: #191f29; --text: #e4e8ef; --soft: #98a3b5; --line: #2b3442;
    --grid: #27303d; --mark: #3b3218; --accent: #7aa5ff;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--bg); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
}
main { max-width: 1240px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 6px; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 40px 0 12px; }
h3 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
p { margin: 4px 0; overflow-wrap: anywhere; }
.soft, figcaption, .note { color: var(--soft); font-size: .875rem; }
.cards { display: grid; gap: 16px; grid-template-columns: minmax(0, 1fr); }
.plots { display: flex; flex-wrap: wrap; gap: 16px; }
.plot { flex: 1 1 100%; }
.cards { margin-top: 20px; }
.card, .plot {
  background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 16px;
  min-width: 0;
}
.card { border-top: 4px solid var(--run, var(--line)); }
.note { margin-bottom: 10px; }
.keys {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(112px, 1fr)); gap: 12px 14px;
  margin-top: 6px;
}
.keys b { display: block; font-size: 1.25rem; line-height: 1.25; font-weight: 650; }
.keys span { color: var(--soft); font-size: .8rem; }
.head { display: flex; flex-wrap: wrap; gap: 4px 12px; align-items: baseline; }
.head .unit { color: var(--soft); font-size: .875rem; }
.switches { margin-left: auto; display: inline-flex; }
button {
  font: inherit; font-size: .8rem; color: var(--soft); background: none; cursor: pointer;
  border: 1px solid var(--line); padding: 2px 10px;
}
button:first-child { border-radius: 7px 0 0 7px; }
button:last-child { border-radius: 0 7px 7px 0; border-left: 0; }
button[aria-pressed="true"] { color: var(--text); background: var(--grid); }
.bar { display: flex; flex-wrap: wrap; gap: 8px 12px; align-items: center; margin: -4px 0 12px; }
.bar .switches { margin-left: 0; }
.chart { width: 100%; min-height: 300px; }
.short { min-height: 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .875rem; width: 100%; }
th, td {
  text-align: left; padding: 5px 12px 5px 0; border-bottom: 1px solid var(--line);
  vertical-align: top; font-variant-numeric: tabular-nums;
}
td + td { overflow-wrap: anywhere; min-width: 8rem; }
.differs td { background: var(--mark); }
details { margin-top: 12px; }
summary { cursor: pointer; color: var(--accent); padding: 4px 0; overflow-wrap: anywhere; }
pre {
  white-space: pre-wrap; overflow-wrap: anywhere; margin: 6px 0 0; padding: 12px;
  background: var(--bg); border-radius: 8px;
  font: .85rem/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
}
.prompt { color: var(--soft); }
.verdict { margin: 8px 0; font-weight: 650; }
.verdict span { border: 1px solid var(--line); border-radius: 8px; padding: 2px 10px; }
.layers { display: flex; flex-wrap: wrap; gap: 2px; }
.square { display: inline-block; width: 14px; height: 14px; border-radius: 3px; flex: none; }
.kind { display: inline-flex; align-items: center; gap: 6px; margin-right: 14px; }
.heat td, .heat th { min-width: 3rem; padding: 3px 6px; text-align: center; }
.heat, .layouts { width: auto; }
figure { margin: 8px 0 0; }
@media (min-width: 900px) {
  .plot { flex-basis: calc(50% - 8px); }
  .plot.wide { flex-basis: 100%; }
  .cards.many { grid-template-columns: repeat(2, minmax(0, 1fr)); }
}
@media (max-width: 640px) {
  main { padding: 18px 12px 40px; }
  h1 { font-size: 1.5rem; }
  .card, .plot { padding: 12px; }
}
"""

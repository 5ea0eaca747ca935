"""The page's style sheet: light and dark, wide screens and phones, nothing fetched from outside."""

STYLE = """
:root { color-scheme: light dark; --paper: #f7f7f5; --card: #fff; --ink: #1c1e22; --soft: #63666e; --edge: #dddcd8;
  --good: #3f9e6e; --check: #e3b23c; --poor: #d9573b; --missing: #8b8f99; --line: #2f6fde; --faint: #9dbcf0; }
@media (prefers-color-scheme: dark) { :root { --paper: #16181c; --card: #1f2228; --ink: #e8e8e6; --soft: #a0a4ae;
  --edge: #363a43; --good: #4fb883; --check: #e9bf55; --poor: #ec6d50; --missing: #596070; --line: #7fabff;
  --faint: #43608f; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1120px; padding: 28px 20px 60px; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 0 0 10px; }
h3 { font-size: 1rem; margin: 20px 0 6px; }
p { margin: 6px 0 12px; max-width: 78ch; }
.soft, figcaption, small { color: var(--soft); font-size: .9rem; }
section, header { background: var(--card); border: 1px solid var(--edge); border-radius: 10px; padding: 20px 22px;
  margin: 0 0 18px; }
.verdict { font-size: 1.15rem; margin: 12px 0 16px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 10px; }
.tile { border: 1px solid var(--edge); border-radius: 8px; padding: 10px 12px; }
.tile b { display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.bar { display: flex; height: 14px; border-radius: 7px; overflow: hidden; margin: 4px 0 8px; background: var(--edge); }
.bar i { display: block; height: 100%; }
.good { background: var(--good); } .check { background: var(--check); }
.poor { background: var(--poor); } .missing { background: var(--missing); } .time { background: var(--line); }
.key i { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin: 0 .35em 0 1em; }
.key i:first-child { margin-left: 0; }
ul { padding-left: 1.2em; margin: 6px 0 12px; } li { margin: 3px 0; }
.warn { border-left: 5px solid var(--check); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .93rem; min-width: 55%; }
th, td { text-align: left; padding: 4px 12px 4px 0; border-bottom: 1px solid var(--edge); vertical-align: top; }
th { color: var(--soft); font-weight: 600; } .n { text-align: right; padding-left: 12px; white-space: nowrap; }
td .bar { width: 160px; margin: 6px 0 0; height: 10px; }
.pictures { display: flex; flex-wrap: wrap; gap: 10px; }
figure { margin: 0; max-width: 560px; } figure img { width: 100%; height: auto; border-radius: 6px; display: block; }
.chart svg { width: 100%; min-width: 620px; height: auto; display: block; }
svg text { font-size: 12px; fill: var(--soft); }
.g0 { fill: var(--missing); } .g1 { fill: var(--poor); } .g2 { fill: var(--check); } .g3 { fill: var(--good); }
.line { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
.middle { stroke: var(--line); } .upper { stroke: var(--faint); }
.level { stroke: var(--soft); stroke-dasharray: 4 5; stroke-width: 1; } .axis { stroke: var(--soft); }
code { font-size: .85em; overflow-wrap: anywhere; }
@media (max-width: 560px) { body { padding: 10px; } section, header { padding: 14px; border-radius: 8px; }
  figure { flex-basis: 44% !important; } }
@media print { body { max-width: none; } section { break-inside: avoid; } }
"""

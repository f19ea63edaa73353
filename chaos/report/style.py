"""How a report looks: on a wide screen and a narrow one, by day and by night, and on paper."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --ground: #fcfcfa; --ink: #1c2024; --quiet: #5c646c;
  --line: #d9dcdf; --card: #f1f2ef; --held: #14713f; --broken: #b3261e; --inconclusive: #7a5200;
  --fault: #8a3ffc; --shade: rgba(138, 63, 252, 0.10); --leads: #2563b0; }
@media (prefers-color-scheme: dark) { :root { --ground: #15181b; --ink: #e4e7ea;
  --quiet: #a0a8b0; --line: #363c42; --card: #1f2429; --held: #4cc38a; --broken: #ff8b80;
  --inconclusive: #e9b44c; --fault: #b794ff; --shade: rgba(183, 148, 255, 0.14);
  --leads: #7cb3f5; } }
* { box-sizing: border-box; }
body { background: var(--ground); color: var(--ink); margin: 0 auto; max-width: 72rem;
  padding: 1rem 1.25rem 4rem; font: 16px/1.55 system-ui, sans-serif; overflow-wrap: anywhere; }
header { border-bottom: 1px solid var(--line); padding-bottom: 0.5rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 1rem 0 0.5rem; }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 2.5rem 0 0.75rem; }
h3 { font-size: 1.05rem; margin: 1.25rem 0 0.25rem; }
p { margin: 0.5rem 0; max-width: 46rem; }
.lead { font-size: 1.2rem; }
.quiet, figcaption, caption, time { color: var(--quiet); }
code, pre, time { font-family: ui-monospace, "Cascadia Mono", Menlo, monospace;
  font-size: 0.875em; }
pre { background: var(--card); border-radius: 6px; padding: 0.75rem 1rem; white-space: pre-wrap; }
blockquote { background: var(--card); border-left: 4px solid var(--leads); margin: 0.75rem 0;
  max-width: 46rem; padding: 0.5rem 1rem; white-space: pre-wrap; }
.badge { border: 1.5px solid currentColor; border-radius: 99px; padding: 0.1rem 0.65rem;
  white-space: nowrap; }
.badge.held { color: var(--held); }
.badge.broken { color: var(--broken); }
.badge.inconclusive { color: var(--inconclusive); border-style: dashed; }
.story { list-style: none; margin: 0; padding: 0; }
.story li { display: grid; gap: 0 1rem; grid-template-columns: 5.5rem 1fr; padding: 0.2rem 0; }
.story time { text-align: right; }
.story .missed { border-left: 4px solid var(--broken); font-weight: 600; }
figure { margin: 1rem 0; }
figcaption { font-size: 0.9rem; max-width: 46rem; }
svg { display: block; font: 11px system-ui, sans-serif; height: auto; width: 100%; }
.narrow { display: none; }
.narrow svg { font-size: 13px; }
svg text { fill: var(--quiet); }
svg .name { fill: var(--ink); font-weight: 600; }
svg .middle { text-anchor: middle; }
svg .end { text-anchor: end; }
svg .onfault { fill: var(--ground); font-weight: 600; font-size: 10px; }
.grid, .base { stroke: var(--line); stroke-width: 1; }
.grid { stroke-dasharray: 2 4; }
.shade { fill: var(--shade); }
.edge { stroke: var(--fault); stroke-dasharray: 4 3; stroke-width: 1; }
.fault { fill: var(--fault); }
path.leads { fill: var(--leads); }
path.ok { fill: var(--held); }
path.fail { fill: var(--broken); }
path.info { fill: var(--inconclusive); }
path.mark { fill: none; stroke-linecap: round; stroke-width: 1.5; }
path.mark.ok { stroke: var(--held); stroke-width: 2.5; }
path.mark.fail { stroke: var(--broken); }
path.mark.info { stroke: var(--inconclusive); }
.scroll { margin: 1rem 0; overflow-x: auto; }
.scroll:focus-visible { outline: 2px solid var(--leads); outline-offset: 2px; }
table { border-collapse: collapse; font-size: 0.95rem; min-width: 20rem; width: 100%; }
caption { font-size: 0.9rem; padding-bottom: 0.25rem; text-align: left; }
th, td { border-bottom: 1px solid var(--line); padding: 0.35rem 0.9rem 0.35rem 0;
  text-align: left; vertical-align: top; }
thead th { color: var(--quiet); font-weight: 500; }
tbody th { font-weight: 600; }
.lines { font-size: 0.85rem; }
.lines th { font-weight: 400; white-space: nowrap; }
summary { cursor: pointer; padding: 0.35rem 0; }
li code { white-space: pre-wrap; }
@media (max-width: 640px) {
  .wide { display: none; } .narrow { display: block; }
  body { padding: 0.5rem 0.9rem 3rem; }
  .story li { grid-template-columns: 4.6rem 1fr; gap: 0 0.6rem; }
  table { font-size: 0.875rem; min-width: 0; }
  .stacked thead { display: none; }
  .stacked, .stacked :is(caption, tbody, tr, th, td) { display: block; }
  .stacked tr { border-bottom: 1px solid var(--line); padding: 0.4rem 0; }
  .stacked :is(th, td) { border: 0; padding: 0.05rem 0; }
  .stacked td:empty { display: none; }
  .stacked td::before { color: var(--quiet); content: attr(data-column) ": "; }
  .lines td::before { content: none; }
}
@media print { body { max-width: none; } details > * { display: block; } }
"""

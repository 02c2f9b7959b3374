// How the report's page looks. Colors have a contrast of at least 4.5:1 with what they stand on (WCAG 2.2, AA).
#ifndef GRPO_TOOLS_PAGE_STYLE_H_
#define GRPO_TOOLS_PAGE_STYLE_H_

namespace grpo {

inline constexpr char kPageCss[] = R"css(
:root{color-scheme:light dark;--bg:#fbfbfa;--card:#fff;--text:#1f2328;--soft:#59636e;--line:#dfe3e8;--head:#f4f5f6;
--right:#1a6b35;--right-bg:#e3f4e8;--wrong:#9c2a20;--wrong-bg:#fbe9e7}
@media (prefers-color-scheme:dark){:root{--bg:#0f1317;--card:#171c22;--text:#e6eaef;--soft:#9aa5b1;--line:#2c333b;
--head:#1d232a;--right:#7fd69b;--right-bg:#14301f;--wrong:#ff9f94;--wrong-bg:#3a1b19}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--bg);color:var(--text);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif}
main{max-width:72rem;margin:0 auto;padding:2.5rem 1rem 4rem}
h1{font-size:clamp(1.5rem,1.2rem + 1.6vw,2.1rem);line-height:1.2;letter-spacing:-.015em;margin:0;overflow-wrap:anywhere}
h2{font-size:1.2rem;letter-spacing:-.005em;margin:3rem 0 .9rem}
h3{font-size:1rem;margin:0 0 .35rem;overflow-wrap:anywhere}
p{margin:.4rem 0;max-width:65ch}
.soft{color:var(--soft);font-size:.9rem}
.facts{display:flex;flex-wrap:wrap;gap:.35rem 1.6rem;margin:.9rem 0 0;padding:0;font-size:.95rem}
.facts div{display:flex;gap:.5rem;min-width:0}
.facts dt{color:var(--soft)}
.facts dd{margin:0;overflow-wrap:anywhere}
.scroll{overflow-x:auto;border:1px solid var(--line);border-radius:10px;background:var(--card);width:fit-content;
max-width:100%}
.scroll:focus-visible{outline:2px solid currentColor;outline-offset:2px}
table{border-collapse:collapse;font-size:.93rem;font-variant-numeric:tabular-nums}
th,td{padding:.5rem .95rem;text-align:right;white-space:nowrap;border-top:1px solid var(--line)}
thead th{background:var(--head);border-top:0;font-weight:600}
th[scope=row]{font-weight:500;color:var(--soft)}
th:first-child{text-align:left;position:sticky;left:0;background:var(--card)}
thead th:first-child{background:var(--head)}
.word{text-align:left}
td small{color:var(--soft);font-size:.85em;margin-left:.4em}
tbody tr:first-child td{font-weight:600}
tbody tr:first-child small{font-weight:400}
table.sum tbody tr:first-child td{font-weight:400}
table.sum tbody tr:last-child td,table.sum tbody tr:last-child th{font-weight:600;color:var(--text)}
.charts{display:grid;gap:1rem;grid-template-columns:repeat(auto-fill,minmax(min(100%,21rem),1fr))}
figure{margin:0;background:var(--card);border:1px solid var(--line);border-radius:10px;padding:.6rem .5rem .3rem}
figure svg{display:block;width:100%;height:auto}
.trace{margin:0 0 1.25rem;background:var(--card);border:1px solid var(--line);border-radius:10px;padding:1rem}
.samples{display:grid;gap:.75rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,17rem),1fr));margin-top:.85rem}
.sample{min-width:0;border-top:2px solid var(--line);padding-top:.6rem}
.sample header{display:flex;flex-wrap:wrap;align-items:center;gap:.3rem .6rem;font-size:.92rem}
.sample header b{font-weight:600;overflow-wrap:anywhere}
.mark{border-radius:99px;padding:.02rem .6rem;font-size:.82rem;font-weight:600;white-space:nowrap}
.right{color:var(--right);background:var(--right-bg)}
.wrong{color:var(--wrong);background:var(--wrong-bg)}
pre{margin:.5rem 0 0;white-space:pre-wrap;overflow-wrap:anywhere;
font:.84rem/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
.answer{display:flex;flex-wrap:wrap;align-items:baseline;gap:0 .6rem;margin:.5rem 0 0}
.answer pre{margin:0;min-width:0}
@media (max-width:30rem){th,td{padding:.45rem .7rem}
th:first-child{white-space:normal;min-width:7rem;max-width:9rem}td small{display:block;margin:0}}
)css";

}  // namespace grpo

#endif  // GRPO_TOOLS_PAGE_STYLE_H_

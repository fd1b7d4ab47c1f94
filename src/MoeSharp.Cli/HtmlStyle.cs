namespace MoeSharp.Cli;

/// <summary>The style sheet of the report.</summary>
/// <remarks>
/// Every colour is a variable, set once for light and once for dark; charts refer to classes only, so one drawing serves both.
/// The eight series colours differ in lightness as well as hue, for readers who do not tell red from green.
/// </remarks>
internal static class HtmlStyle
{
    private const string Rules = """
        :root{color-scheme:light dark;--bg:#f7f7f5;--panel:#fff;--ink:#1d2125;--muted:#646c75;--rule:#e3e4e1;--grid:#ecedea;--mark:#eaf1fb;
        --c0:#1f66b5;--c1:#c8541c;--c2:#17825d;--c3:#8b4aa8;--c4:#a87b00;--c5:#b5305f;--c6:#0b7d93;--c7:#5b6672;--cold:#2468b2;--hot:#d0590f;--work:#1f66b5}
        @media (prefers-color-scheme:dark){:root{--bg:#15181b;--panel:#1d2125;--ink:#e6e8ea;--muted:#98a1ab;--rule:#30363c;--grid:#2a2f35;--mark:#22303f;
        --c0:#6fa9ec;--c1:#f28f5b;--c2:#55c596;--c3:#c493de;--c4:#dfb548;--c5:#f07da6;--c6:#4fc4d8;--c7:#a9b4bf;--cold:#5a9ff0;--hot:#f58a3c;--work:#3f86d6}}
        *{box-sizing:border-box}
        body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","Liberation Sans",sans-serif}
        main{max-width:1180px;margin:0 auto;padding:40px 24px 64px}
        h1{font-size:26px;line-height:1.25;margin:0;font-weight:650;letter-spacing:-.01em;overflow-wrap:anywhere}
        h2{font-size:17px;margin:44px 0 4px;font-weight:650}
        p{margin:4px 0 16px;max-width:86ch}
        .sub{max-width:none}.sub,.note{color:var(--muted)}
        .note{font-size:13.5px}
        .figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(190px,1fr));gap:1px;background:var(--panel);border:1px solid var(--rule);border-radius:10px;overflow:hidden;margin-top:24px}
        .figure{padding:14px 18px;box-shadow:0 0 0 1px var(--rule)}
        .figure b{display:block;font-size:24px;font-weight:600;line-height:1.3;font-variant-numeric:tabular-nums}
        .figure span{display:block;font-size:13px;color:var(--muted)}
        .grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,470px),1fr));gap:18px}
        .grid.half{grid-template-columns:repeat(auto-fill,minmax(min(100%,470px),1fr))}.grid+.grid{margin-top:18px}
        .panel{background:var(--panel);border:1px solid var(--rule);border-radius:10px;padding:16px 18px;overflow-x:auto;min-width:0}
        .panel+.panel.wide{margin-top:18px}
        .chart{display:block;width:100%;min-width:420px;height:auto;font-family:inherit}
        .chart.big{min-width:760px}
        .chart .title{font-size:13.5px;font-weight:600;fill:var(--ink)}
        .chart .tick{font-size:11.5px;fill:var(--muted);font-variant-numeric:tabular-nums}
        .chart .value{font-size:12px;fill:var(--ink);paint-order:stroke;stroke:var(--panel);stroke-width:4px;font-variant-numeric:tabular-nums}
        .chart .label{font-size:12px;fill:var(--muted)}
        .chart .mid{text-anchor:middle}.chart .end{text-anchor:end}
        .chart line.grid{stroke:var(--grid)}.chart .axis{stroke:var(--muted);stroke-width:1}
        .chart .reference{stroke:var(--muted);stroke-width:1;stroke-dasharray:5 4}.chart .leader{stroke:var(--muted);stroke-width:.7;fill:none}
        .chart .line{fill:none;stroke-width:1.8;stroke-linejoin:round}.chart .faint{stroke-width:1;opacity:.7}.chart .dashed{stroke-dasharray:5 3}.chart .key{stroke-width:3;opacity:1}
        .chart .paper{fill:var(--grid)}.chart .cold{fill:var(--cold);shape-rendering:crispEdges}.chart .hot{fill:var(--hot);shape-rendering:crispEdges}.chart .work{fill:var(--work)}.chart .cell{font-size:12px;fill:var(--ink);font-variant-numeric:tabular-nums}
        .s0{stroke:var(--c0)}.s1{stroke:var(--c1)}.s2{stroke:var(--c2)}.s3{stroke:var(--c3)}.s4{stroke:var(--c4)}.s5{stroke:var(--c5)}.s6{stroke:var(--c6)}.s7{stroke:var(--c7)}
        .f0{fill:var(--c0)}.f1{fill:var(--c1)}.f2{fill:var(--c2)}.f3{fill:var(--c3)}.f4{fill:var(--c4)}.f5{fill:var(--c5)}.f6{fill:var(--c6)}.f7{fill:var(--c7)}
        table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
        th{font-size:13px;font-weight:500;color:var(--muted);text-align:left}
        th,td{padding:6px 10px;border-bottom:1px solid var(--rule)}
        tr:last-child td{border-bottom:0}
        td.number,th.number{text-align:right}
        tr.model td{background:var(--mark);font-weight:650}
        pre{margin:0;font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;white-space:pre-wrap;overflow-wrap:anywhere;tab-size:4}
        .scale{display:flex;flex-wrap:wrap;align-items:center;gap:6px;font-size:12.5px;color:var(--muted);margin-bottom:10px}
        .scale i{display:inline-block;width:22px;height:11px;margin-left:6px;box-shadow:0 0 0 1px var(--rule)}
        .e1{background:color-mix(in srgb,var(--work) 12%,transparent)}.e2{background:color-mix(in srgb,var(--work) 24%,transparent)}.e3{background:color-mix(in srgb,var(--work) 36%,transparent)}.e4{background:color-mix(in srgb,var(--work) 48%,transparent)}.e5{background:color-mix(in srgb,var(--work) 60%,transparent)}
        .views>pre{display:none}
        .views>input{position:absolute;opacity:0;pointer-events:none}
        .views>label{display:inline-block;font-size:12.5px;color:var(--muted);padding:2px 10px;margin:0 6px 12px 0;border:1px solid var(--rule);border-radius:999px;cursor:pointer}
        .views>input:checked+label{background:var(--mark);color:var(--ink)}.views>input:focus-visible+label{outline:2px solid var(--c0)}
        dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(210px,1fr));gap:12px 24px;margin:0}
        dt{font-size:12.5px;color:var(--muted)}dd{margin:0;overflow-wrap:anywhere}
        h3{font-size:14.5px;margin:22px 0 8px;font-weight:600}
        .claims{display:grid;gap:10px}
        .claim{display:grid;grid-template-columns:130px 1fr;gap:0 16px;background:var(--panel);border:1px solid var(--rule);border-left:5px solid var(--tone);border-radius:8px;padding:10px 16px}
        .claim b{color:var(--tone);font-size:13.5px}.claim p{margin:0;max-width:none}
        .claim.yes{--tone:var(--c2)}.claim.no{--tone:var(--c4)}.claim.opposite{--tone:var(--c5)}
        figure{margin:0}figcaption{margin-top:10px;font-size:13px;color:var(--muted)}
        .panel.results{margin-top:18px}caption{text-align:left;font-size:13.5px;font-weight:600;padding-bottom:8px}.results td,.results th{white-space:nowrap;font-size:13px;padding:6px 8px}
        .results th{white-space:normal;vertical-align:bottom}
        details{margin-top:18px}summary{cursor:pointer;color:var(--muted);font-size:13.5px}details .panel{margin-top:10px}
        .chart .joined{stroke:var(--muted);stroke-dasharray:2 3;stroke-width:1.2}.chart .soft{opacity:.55}.chart .ink{fill:var(--ink)}
        .chart .whisker{stroke:var(--ink);stroke-width:1.1;fill:none;opacity:.75}.chart .pixel{shape-rendering:crispEdges}.chart .veil{fill:var(--panel);opacity:.84}
        .chart .code{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:var(--ink)}
        footer{margin-top:40px;font-size:12.5px;color:var(--muted)}
        """;

    /// <summary>What a drawing needs besides, when it is a file of its own: a font and a ground.</summary>
    public const string File = """

        svg.chart{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif}.sheet{fill:var(--panel)}
        """;

    /// <summary>The text of the style element.</summary>
    public static string Text { get; } = Rules + string.Concat(Enumerable.Range(1, ReportText.MaxViews).Select(view =>
        $"\n.views>input:nth-of-type({view}):checked~pre:nth-of-type({view}){{display:block}}"));
}

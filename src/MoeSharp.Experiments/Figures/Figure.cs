namespace MoeSharp.Experiments;

/// <summary>A picture as data; the command draws it.</summary>
/// <param name="Name">Name of its file, without extension.</param>
/// <param name="Title">Heading.</param>
/// <param name="Note">What to see in it, a sentence or two below the picture.</param>
internal abstract record Figure(string Name, string Title, string Note);

/// <summary>A point with bars of one standard deviation.</summary>
internal sealed record ScatterPoint(string Label, Spread X, Spread Y, int Color, bool IsBaseline = false);

/// <summary>Labelled points, optionally joined: loss against measured compute.</summary>
/// <param name="Name">File.</param>
/// <param name="Title">Heading.</param>
/// <param name="Note">What to see.</param>
/// <param name="XLabel">X axis with unit.</param>
/// <param name="YLabel">Y axis with unit.</param>
/// <param name="Points">The points.</param>
/// <param name="Lines">Runs of point numbers that are joined: a frontier.</param>
internal sealed record ScatterFigure(
    string Name, string Title, string Note, string XLabel, string YLabel, IReadOnlyList<ScatterPoint> Points, IReadOnlyList<IReadOnlyList<int>> Lines) : Figure(Name, Title, Note);

/// <summary>Bars in groups: one group per arm, one bar per kind of token.</summary>
/// <param name="Name">File.</param>
/// <param name="Title">Heading.</param>
/// <param name="Note">What to see.</param>
/// <param name="ValueLabel">Value axis with unit.</param>
/// <param name="Format">.NET format of the values.</param>
/// <param name="Series">Names of the bars of a group.</param>
/// <param name="Groups">Name and one value per series.</param>
internal sealed record BarsFigure(
    string Name, string Title, string Note, string ValueLabel, string Format, IReadOnlyList<string> Series, IReadOnlyList<(string Name, IReadOnlyList<Spread> Values)> Groups) : Figure(Name, Title, Note);

/// <summary>Lines over a common axis.</summary>
/// <param name="Name">File.</param>
/// <param name="Title">Heading.</param>
/// <param name="Note">What to see.</param>
/// <param name="XLabel">X axis.</param>
/// <param name="YLabel">Y axis.</param>
/// <param name="Lines">Name, points and colour.</param>
/// <param name="XNames">Names of the abscissas 1, 2, ...; empty when they are numbers.</param>
internal sealed record LinesFigure(
    string Name, string Title, string Note, string XLabel, string YLabel, IReadOnlyList<(string Name, IReadOnlyList<(double X, double Y)> Points, int Color)> Lines, IReadOnlyList<string> XNames) : Figure(Name, Title, Note);

/// <summary>Pictures whose patches are shaded by a number, each beside the picture itself, with a text of shaded characters below.</summary>
/// <param name="Name">File.</param>
/// <param name="Title">Heading.</param>
/// <param name="Note">What to see.</param>
/// <param name="ValueLabel">What the shade is.</param>
/// <param name="Most">Value of the darkest shade.</param>
/// <param name="Scenes">The pictures.</param>
internal sealed record ScenesFigure(string Name, string Title, string Note, string ValueLabel, double Most, IReadOnlyList<ShadedScene> Scenes) : Figure(Name, Title, Note);

/// <summary>A picture of RGB pixels in [0, 1], a value per patch and per character.</summary>
/// <param name="Size">Pixels per side.</param>
/// <param name="Pixels">Size * Size * 3, row by row.</param>
/// <param name="Patches">Patches per side.</param>
/// <param name="PatchValues">Patches * Patches, row by row.</param>
/// <param name="Text">The caption.</param>
/// <param name="TextValues">One value per character.</param>
internal sealed record ShadedScene(
    int Size, IReadOnlyList<double> Pixels, int Patches, IReadOnlyList<double> PatchValues, string Text, IReadOnlyList<double> TextValues);

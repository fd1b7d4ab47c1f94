using MoeSharp.Core;

namespace MoeSharp.Models;

/// <summary>Turns paths, folders and globs into a sorted list of files.</summary>
/// <remarks>
/// <c>*</c> and <c>?</c> match inside one name, <c>**</c> matches any number of folders. Folders are searched to any depth, without hidden
/// folders, <c>bin</c>, <c>obj</c> and <c>.artifacts</c>, without run folders (a run kept below its own data would change them), and without
/// following links to folders (they may form circles). The result is ordered by full path, ordinal, so that it does not depend on the file system.
/// </remarks>
internal static class FileFinder
{
    public static List<string> Find(IReadOnlyList<string> pathsOrGlobs)
    {
        if (pathsOrGlobs.Count == 0)
        {
            throw new DataException("No data was given; name text files, folders or globs such as 'docs/**/*.md'.");
        }

        var found = new SortedSet<string>(StringComparer.Ordinal);
        foreach (string item in pathsOrGlobs)
        {
            if (string.IsNullOrWhiteSpace(item))
            {
                throw new DataException("One of the data paths is empty; name text files, folders or globs.");
            }

            try
            {
                found.UnionWith(FindOne(item));
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException)
            {
                throw new DataException($"The data path '{item}' cannot be read: {error.Message}", error);
            }
        }

        return [.. found];
    }

    /// <summary>Whether a path of several names matches a glob of several names.</summary>
    public static bool Matches(ReadOnlySpan<string> glob, ReadOnlySpan<string> path)
    {
        if (glob.IsEmpty)
        {
            return path.IsEmpty;
        }

        if (glob[0] == "**")
        {
            return Matches(glob[1..], path) || (!path.IsEmpty && Matches(glob, path[1..]));
        }

        return !path.IsEmpty && MatchesName(glob[0], path[0]) && Matches(glob[1..], path[1..]);
    }

    private static List<string> FindOne(string item)
    {
        if (File.Exists(item))
        {
            return [Path.GetFullPath(item)];
        }

        if (Directory.Exists(item))
        {
            var files = new List<string>();
            Walk(Path.GetFullPath(item), files);
            return files;
        }

        if (!item.AsSpan().ContainsAny('*', '?'))
        {
            throw new DataException($"The data path '{item}' does not exist (looked for {Path.GetFullPath(item)}).");
        }

        return Expand(item);
    }

    private static List<string> Expand(string glob)
    {
        string full = Path.GetFullPath(glob).Replace('\\', '/');
        string[] names = full.Split('/');
        int wild = Array.FindIndex(names, name => name.AsSpan().ContainsAny('*', '?'));
        string root = string.Join('/', names[..wild]) + "/";
        var files = new List<string>();
        if (Directory.Exists(root))
        {
            Walk(Path.GetFullPath(root), files);
        }

        string[] pattern = names[wild..];
        files.RemoveAll(file => !Matches(pattern, Path.GetRelativePath(root, file).Replace('\\', '/').Split('/')));
        return files.Count > 0
            ? files
            : throw new DataException($"The pattern '{glob}' matches no file (looked below {root}; hidden folders, bin, obj and .artifacts are skipped).");
    }

    private static void Walk(string folder, List<string> files)
    {
        files.AddRange(Directory.EnumerateFiles(folder));
        foreach (string child in Directory.EnumerateDirectories(folder))
        {
            string name = Path.GetFileName(child);
            bool skipped = name.StartsWith('.')
                || name is "bin" or "obj"
                || File.GetAttributes(child).HasFlag(FileAttributes.ReparsePoint)
                || RunFolder.IsRunFolder(child);
            if (!skipped)
            {
                Walk(child, files);
            }
        }
    }

    private static bool MatchesName(ReadOnlySpan<char> glob, ReadOnlySpan<char> name)
    {
        // Greedy with one point of return: the last star takes one more character whenever the rest does not fit.
        int g = 0, n = 0, star = -1, resume = 0;
        while (n < name.Length)
        {
            if (g < glob.Length && (glob[g] == '?' || (glob[g] == name[n] && glob[g] != '*')))
            {
                g++;
                n++;
            }
            else if (g < glob.Length && glob[g] == '*')
            {
                star = g++;
                resume = n;
            }
            else if (star >= 0)
            {
                g = star + 1;
                n = ++resume;
            }
            else
            {
                return false;
            }
        }

        return glob[g..].TrimStart('*').IsEmpty;
    }
}

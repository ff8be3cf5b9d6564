using System.Collections.Immutable;
using System.Reflection;
using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;
using System.Xml.Linq;
using Shouldly;
using Xunit;

namespace Sagas.Tests;

/// <summary>Holds the house to its plan: which project may know which, where files may lie, and that the heart stays pure.</summary>
public class LayoutTests
{
    /// <summary>Which of our projects a project may reference. Draw a new project's arrows here, and nowhere else.</summary>
    private static readonly Dictionary<string, string[]> Arrows = new()
    {
        ["Sagas"] = [],
        ["Sagas.Journal"] = [],
        ["Sagas.Runtime"] = ["Sagas", "Sagas.Journal"],
        ["Sagas.Participants"] = ["Sagas", "Sagas.Journal"],
        ["Sagas.Redis"] = ["Sagas.Runtime", "Sagas.Participants"],
        ["Sagas.Postgres"] = ["Sagas.Runtime", "Sagas.Participants"],
        ["Sagas.MassTransit"] = ["Sagas.Runtime", "Sagas.Participants"],
        ["Sagas.AspNetCore"] = ["Sagas.Runtime", "Sagas.Participants"],
        ["Sagas.Testing"] = ["Sagas.Runtime", "Sagas.Participants"],
    };

    private static readonly string[] TopLevel =
    [
        "src", "tests", "examples", "dashboards", "Sagas.sln", "README.md", ".editorconfig", "Directory.Build.props", "Directory.Packages.props", "global.json",
        "LICENSE", ".gitignore", ".gitattributes", ".ci", ".config", ".git",
    ];

    /// <summary>What builds and editors leave behind; .gitignore keeps it out of the repository.</summary>
    private static readonly string[] Leavings = ["bin", "obj", "data", "node_modules", "dist", "TestResults", ".vs", ".idea"];

    internal static readonly string Root = FindRoot();

    // ── Arrows ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    [Fact]
    public void Projects_reference_only_what_their_arrows_allow()
    {
        var wrong = new List<string>();
        foreach (var project in Projects("src"))
        {
            var name = Path.GetFileNameWithoutExtension(project);
            if (name == "Sagas.Server") continue;   // the host knows all of src
            if (!Arrows.TryGetValue(name, out var allowed)) wrong.Add($"{name} has no arrows: draw them in LayoutTests and DESIGN.");
            else wrong.AddRange(ReferencesOf(project).Except(allowed).Select(other => $"{name} -> {other}"));
        }
        wrong.ShouldBeEmpty();
    }

    [Fact]
    public void Examples_reference_only_src_and_themselves_and_are_let_into_nothing()
    {
        foreach (var project in Projects("examples"))
        {
            var own = string.Join(Path.DirectorySeparatorChar, Path.GetRelativePath(Root, project).Split(Path.DirectorySeparatorChar).Take(2));
            ReferencesOf(project).Except(ReferencesOf(project, folder: "src")).ShouldBe(ReferencesOf(project, folder: own), $"{project} references only projects of src and of its own example");
        }
        foreach (var project in Projects("src"))
            XDocument.Load(project).Descendants("InternalsVisibleTo").Select(e => e.Attribute("Include")!.Value)
                .ShouldAllBe(friend => friend.StartsWith("Sagas", StringComparison.Ordinal), $"{project} lets in only our own");
    }

    [Fact]
    public void Nothing_in_src_references_tests_or_examples()
    {
        foreach (var project in Projects("src")) ReferencesOf(project, folder: "src").ShouldBe(ReferencesOf(project), project);
    }

    [Fact]
    public void Assemblies_reference_only_what_the_arrows_lead_to()
    {
        foreach (var (name, _) in Arrows)
        {
            var path = Path.Combine(AppContext.BaseDirectory, name + ".dll");
            if (!File.Exists(path)) continue;
            using var file = new PEReader(File.OpenRead(path));
            var code = file.GetMetadataReader();
            var others = code.AssemblyReferences.Select(r => code.GetString(code.GetAssemblyReference(r).Name)).ToArray();
            others.Where(other => Arrows.ContainsKey(other)).Except(Reachable(name)).ShouldBeEmpty($"{name}.dll references what its arrows do not lead to");
            if (name is "Sagas" or "Sagas.Journal")
                others.ShouldAllBe(other => other.StartsWith("System.", StringComparison.Ordinal), $"{name}.dll needs the BCL only");
        }

        static IEnumerable<string> Reachable(string from) => Arrows[from].SelectMany(to => Reachable(to).Append(to)).Distinct();
    }

    [Fact]
    public void The_heart_and_the_journal_need_no_package()
    {
        foreach (var name in new[] { "Sagas", "Sagas.Journal" })
        {
            var project = XDocument.Load(Path.Combine(Root, "src", name, name + ".csproj"));
            project.Descendants("PackageReference").ShouldBeEmpty();
            project.Descendants("FrameworkReference").ShouldBeEmpty();
        }
    }

    // ── Rooms ───────────────────────────────────────────────────────────────────────────────────────────────────────────

    [Fact]
    public void The_top_of_the_repository_holds_only_what_was_agreed() =>
        Directory.EnumerateFileSystemEntries(Root).Select(path => Path.GetFileName(path)).Except(TopLevel).Except(Leavings).ShouldBeEmpty();

    [Fact]
    public void Every_project_is_in_the_solution()
    {
        var solution = File.ReadAllText(Path.Combine(Root, "Sagas.sln")).Replace('\\', '/');
        foreach (var project in Projects("src", "tests", "examples"))
            solution.ShouldContain($"\"{Path.GetRelativePath(Root, project).Replace('\\', '/')}\"");
    }

    [Fact]
    public void Every_folder_of_src_is_a_project_named_like_it()
    {
        foreach (var folder in Directory.GetDirectories(Path.Combine(Root, "src")))
            File.Exists(Path.Combine(folder, Path.GetFileName(folder) + ".csproj")).ShouldBeTrue(folder);
    }

    [Fact]
    public void Folders_are_one_level_deep_and_named_by_what_is_in_them()
    {
        string[] vague = ["Abstractions", "Helpers", "Utils", "Managers", "Common"];
        foreach (var top in new[] { "src", "tests" })
            foreach (var folder in Folders(Path.Combine(Root, top)))
            {
                var parts = Path.GetRelativePath(Root, folder).Split(Path.DirectorySeparatorChar);
                if (parts.Contains("peers") || parts.Contains("wwwroot")) continue;   // other people's houses
                parts.Length.ShouldBeLessThanOrEqualTo(3, $"{folder} is deeper than {top}/Project/Folder");
                vague.ShouldNotContain(parts[^1], folder);
                if (top == "src")
                    parts[..^1].SelectMany(part => part.Split('.')).Skip(1).ShouldNotContain(parts[^1], $"{folder} repeats a name it stands in");
            }
    }

    [Fact]
    public void Each_folder_of_the_tests_is_named_after_a_project_of_src_or_is_the_examples_or_the_dashboard()
    {
        var projects = Projects("src").Select(path => Path.GetFileNameWithoutExtension(path)).Select(name => name.StartsWith("Sagas.", StringComparison.Ordinal) ? name["Sagas.".Length..] : name);
        Folders(Path.Combine(Root, "tests", "Sagas.Tests")).Select(path => Path.GetFileName(path)).Except(projects).Except(["Examples", "Dashboard"]).ShouldBeEmpty();
    }

    [Fact]
    public void Tests_do_not_sleep()
    {
        string[] sleeps = ["Thread" + ".Sleep", "Task" + ".Delay("];
        foreach (var file in Directory.EnumerateFiles(Path.Combine(Root, "tests", "Sagas.Tests"), "*.cs", SearchOption.AllDirectories).Where(IsOurs))
        {
            var text = File.ReadAllText(file);
            foreach (var sleep in sleeps) text.Contains(sleep).ShouldBeFalse($"{file} has {sleep}: wait for what must happen, not for time to pass");
        }
    }

    // ── Purity ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    [Fact]
    public void The_heart_is_pure() => Impurities(File.ReadAllBytes(typeof(Decider).Assembly.Location)).ShouldBeEmpty();

    /// <summary>So that the test above can fail.</summary>
    [Theory]
    [InlineData("static DateTime Sin() => DateTime.UtcNow;", "System.DateTime.get_UtcNow")]
    [InlineData("static DateTime Sin() => DateTime.Now;", "System.DateTime.get_Now")]
    [InlineData("static DateTime Sin() => DateTime.Today;", "System.DateTime.get_Today")]
    [InlineData("static DateTimeOffset Sin() => DateTimeOffset.UtcNow;", "System.DateTimeOffset.get_UtcNow")]
    [InlineData("static object Sin() => TimeProvider.System;", "System.TimeProvider")]
    [InlineData("static Guid Sin() => Guid.NewGuid();", "System.Guid.NewGuid")]
    [InlineData("static Guid Sin() => Guid.CreateVersion7();", "System.Guid.CreateVersion7")]
    [InlineData("static int Sin() => Random.Shared.Next();", "System.Random")]
    [InlineData("static int Sin() => System.Security.Cryptography.RandomNumberGenerator.GetInt32(2);", "System.Security.Cryptography.RandomNumberGenerator")]
    [InlineData("static long Sin() => System.Diagnostics.Stopwatch.GetTimestamp();", "System.Diagnostics.Stopwatch")]
    [InlineData("static long Sin() => Environment.TickCount64;", "System.Environment.get_TickCount64")]
    [InlineData("static string Sin() => System.IO.File.ReadAllText(\"x\");", "System.IO.File")]
    [InlineData("static void Sin(System.IO.Stream s) { }", "System.IO.Stream")]
    [InlineData("static void Sin() => Console.Beep();", "System.Console")]
    [InlineData("static object Sin() => System.Net.Dns.GetHostName();", "System.Net.Dns")]
    [InlineData("static object Sin() => System.Diagnostics.Process.GetCurrentProcess();", "System.Diagnostics.Process")]
    [InlineData("static async void Sin() => await System.Threading.Tasks.Task.Yield();", "System.Threading.Tasks.Task")]
    [InlineData("static System.Threading.Tasks.ValueTask Sin() => default;", "System.Threading.Tasks.ValueTask")]
    [InlineData("static void Sin() => System.Threading.Thread." + "Sleep(1);", "System.Threading.Thread")]
    [InlineData("static System.Threading.Timer? Sin() => null;", "System.Threading.Timer")]
    [InlineData("static int s_sin; static int Sin() => s_sin++;", "Sinner.s_sin")]
    [InlineData("static int Sin { get; set; }", "Sinner.<Sin>k__BackingField")]
    public void What_is_not_pure_is_found(string sin, string found) =>
        Impurities(new Snippet($$"""public static class Sinner { {{sin}} }""").Compile()).ShouldContain(found);

    [Fact]
    public void What_is_pure_is_left_alone() => Impurities(new Snippet("""
        public sealed class Saint
        {
            [ThreadStatic] static int t_cache;
            static readonly int[] Table = [1, 2, 3];
            const int Few = 3;
            public int Sum(IEnumerable<int> all) => all.Where(x => x > Few).Select(x => x + t_cache++).Sum() + Table[0];
            public IEnumerable<int> Odd(int[] all) { foreach (var one in all) if (one % 2 == 1) yield return one; }
            public DateTimeOffset Later(DateTimeOffset now) => now + TimeSpan.FromSeconds(Few);
        }
        """).Compile()).ShouldBeEmpty();

    /// <summary>What an assembly touches that a pure one must not: clocks, randomness, threads, the world outside, and memory of its own.</summary>
    private static ImmutableSortedSet<string> Impurities(byte[] image)
    {
        string[] spaces = ["System.Threading.Tasks", "System.IO", "System.Net"];
        string[] types =
        [
            "System.Threading.Thread", "System.Threading.ThreadPool", "System.Threading.Timer", "System.Threading.PeriodicTimer", "System.TimeProvider", "System.Random",
            "System.Security.Cryptography.RandomNumberGenerator", "System.Diagnostics.Stopwatch", "System.Diagnostics.Process", "System.Console",
        ];
        string[] members =
        [
            "System.DateTime.get_Now", "System.DateTime.get_UtcNow", "System.DateTime.get_Today", "System.DateTimeOffset.get_Now", "System.DateTimeOffset.get_UtcNow",
            "System.Guid.NewGuid", "System.Guid.CreateVersion7",
        ];
        using var file = new PEReader([.. image]);
        var code = file.GetMetadataReader();
        var found = ImmutableSortedSet.CreateBuilder<string>(StringComparer.Ordinal);
        foreach (var handle in code.TypeReferences)
        {
            var type = NameOf(code, handle);
            if (types.Contains(type) || spaces.Any(space => type.StartsWith(space + ".", StringComparison.Ordinal))) found.Add(type);
        }
        foreach (var handle in code.MemberReferences)
        {
            var member = code.GetMemberReference(handle);
            if (member.Parent.Kind != HandleKind.TypeReference) continue;
            var name = $"{NameOf(code, (TypeReferenceHandle)member.Parent)}.{code.GetString(member.Name)}";
            // Every iterator that the compiler writes asks on which thread it is, so as not to be shared.
            var ofMachine = name.StartsWith("System.Environment.", StringComparison.Ordinal) && name != "System.Environment.get_CurrentManagedThreadId";
            if (members.Contains(name) || ofMachine) found.Add(name);
        }
        foreach (var handle in code.FieldDefinitions)
        {
            var field = code.GetFieldDefinition(handle);
            var type = code.GetTypeDefinition(field.GetDeclaringType());
            var isVariable = field.Attributes.HasFlag(FieldAttributes.Static) && (field.Attributes & (FieldAttributes.InitOnly | FieldAttributes.Literal)) == 0;
            // <>c holds lambdas, which the compiler makes once: the same value at every reading.
            if (isVariable && !IsPerThread(code, field) && !code.GetString(type.Name).StartsWith("<>", StringComparison.Ordinal))
                found.Add($"{code.GetString(type.Name)}.{code.GetString(field.Name)}");
        }
        return found.ToImmutable();
    }

    private static bool IsPerThread(MetadataReader code, FieldDefinition field) => field.GetCustomAttributes().Any(handle =>
        code.GetCustomAttribute(handle).Constructor is { Kind: HandleKind.MemberReference } make
        && code.GetMemberReference((MemberReferenceHandle)make).Parent is { Kind: HandleKind.TypeReference } type
        && NameOf(code, (TypeReferenceHandle)type) == "System.ThreadStaticAttribute");

    private static string NameOf(MetadataReader code, TypeReferenceHandle handle)
    {
        var type = code.GetTypeReference(handle);
        var name = code.GetString(type.Name);
        if (type.ResolutionScope.Kind == HandleKind.TypeReference) return $"{NameOf(code, (TypeReferenceHandle)type.ResolutionScope)}.{name}";
        return type.Namespace.IsNil ? name : $"{code.GetString(type.Namespace)}.{name}";
    }

    // ── Files ───────────────────────────────────────────────────────────────────────────────────────────────────────────

    private static string FindRoot()
    {
        var folder = new DirectoryInfo(AppContext.BaseDirectory);
        while (folder is not null && !File.Exists(Path.Combine(folder.FullName, "Sagas.sln"))) folder = folder.Parent;
        return folder?.FullName ?? throw new InvalidOperationException($"No Sagas.sln above {AppContext.BaseDirectory}. Run the tests from the repository's build.");
    }

    private static bool IsOurs(string path) => !Path.GetRelativePath(Root, path).Split(Path.DirectorySeparatorChar).Intersect(Leavings).Any();

    private static string[] Projects(params string[] tops) =>
        [.. tops.SelectMany(top => Directory.EnumerateFiles(Path.Combine(Root, top), "*.csproj", SearchOption.AllDirectories)).Where(IsOurs)];

    /// <summary>The folders of code; a folder <c>Golden</c> holds files that earlier builds wrote, under their own names.</summary>
    private static IEnumerable<string> Folders(string top) =>
        Directory.EnumerateDirectories(top, "*", SearchOption.AllDirectories).Where(IsOurs).Where(folder => !folder.Split(Path.DirectorySeparatorChar).Contains("Golden"));

    /// <summary>The names of the projects that a project references; with a folder, only those under it.</summary>
    private static string[] ReferencesOf(string project, string? folder = null) =>
        [.. XDocument.Load(project).Descendants("ProjectReference").Select(e => Path.GetFullPath(Path.Combine(Path.GetDirectoryName(project)!, e.Attribute("Include")!.Value.Replace('\\', '/'))))
            .Where(path => folder is null || path.StartsWith(Path.Combine(Root, folder) + Path.DirectorySeparatorChar, StringComparison.Ordinal))
            .Select(path => Path.GetFileNameWithoutExtension(path))];
}

using System.Collections.Immutable;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Shouldly;

namespace Sagas.Tests;

/// <summary>A piece of C# compiled in memory against Sagas.dll and the runtime, nullable enabled, as a user would.</summary>
internal sealed class Snippet
{
    private const string Usings = "global using System; global using System.Collections.Generic; global using System.Linq; global using Sagas;";
    private static readonly CSharpParseOptions Language = new(LanguageVersion.Latest);
    private static readonly SyntaxTree GlobalUsings = CSharpSyntaxTree.ParseText(Usings, Language);
    private static readonly ImmutableArray<MetadataReference> References =
    [
        .. ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!).Split(Path.PathSeparator)
            .Where(path => Path.GetFileName(path) is "Sagas.dll" or "System.Private.CoreLib.dll" || Path.GetFileName(path).StartsWith("System.", StringComparison.Ordinal)
                || Path.GetFileName(path) == "netstandard.dll")
            .Select(path => MetadataReference.CreateFromFile(path)),
    ];

    private readonly CSharpCompilation _compilation;
    private readonly string _source;

    public Snippet(string source)
    {
        _source = source;
        _compilation = CSharpCompilation.Create("Snippet", [GlobalUsings, CSharpSyntaxTree.ParseText(source, Language)], References,
            new CSharpCompilationOptions(OutputKind.DynamicallyLinkedLibrary, nullableContextOptions: NullableContextOptions.Enable));
    }

    /// <summary>The assembly's bytes; what the compiler says against it fails the test.</summary>
    public byte[] Compile()
    {
        using var image = new MemoryStream();
        var result = _compilation.Emit(image);
        result.Diagnostics.Where(d => d.Severity >= DiagnosticSeverity.Warning).Select(d => d.ToString()).ShouldBeEmpty();
        return image.ToArray();
    }

    /// <summary>Fails unless there is exactly one error (or warning that a project with warnings as errors would stop at), with one of these ids, on the line marked <c>// wrong</c>.</summary>
    public void ShouldNotCompile(params string[] ids)
    {
        var line = Array.FindIndex(_source.Split('\n'), text => text.Contains("// wrong"));
        line.ShouldBeGreaterThanOrEqualTo(0, "mark the line that must not compile with // wrong");
        var found = _compilation.GetDiagnostics().Where(d => d.Severity >= DiagnosticSeverity.Warning).ToArray();
        found.ShouldNotBeEmpty("it compiles");
        foreach (var diagnostic in found)
        {
            ids.ShouldContain(diagnostic.Id, diagnostic.ToString());
            diagnostic.Location.GetLineSpan().StartLinePosition.Line.ShouldBe(line, diagnostic.ToString());
        }
        found.Select(d => d.Id).ShouldContain(ids[0]);
    }
}

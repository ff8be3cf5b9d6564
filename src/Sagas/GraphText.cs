using System.Collections.Immutable;
using System.Text;

namespace Sagas;

/// <summary>A definition's graph as text that others draw: a Mermaid flowchart or Graphviz DOT. The commit point is a node of its own: right after the pivot or, without one, after every step.</summary>
public static class GraphText
{
    /// <summary>The graph as a Mermaid flowchart.</summary>
    public static string Mermaid(SagaDefinition saga)
    {
        ArgumentNullException.ThrowIfNull(saga);
        var text = new StringBuilder("flowchart TD\n");
        text.Append($"    start([\"{Html(saga.ToString())}\"])\n");
        foreach (var step in saga.Steps)
        {
            var lines = string.Join("<br/>", Lines(step).Select(Html));
            text.Append(step.Pivot ? $"    s{step.Index}{{{{\"{lines}\"}}}}\n" : $"    s{step.Index}[\"{lines}\"]\n");
        }
        text.Append("    commit{{\"commit point\"}}\n");
        text.Append("    done([\"Completed\"])\n");
        foreach (var (from, to) in Edges(saga)) text.Append($"    {from} --> {to}\n");
        text.Append("    classDef commit fill:#f6d55c,stroke:#7a6200,color:#000\n");
        text.Append("    classDef pivot stroke:#7a6200,stroke-width:3px\n");
        text.Append("    class commit commit\n");
        if (saga.Pivot is { } pivot) text.Append($"    class s{pivot} pivot\n");
        return text.ToString();
    }

    /// <summary>The graph in Graphviz's language.</summary>
    public static string Dot(SagaDefinition saga)
    {
        ArgumentNullException.ThrowIfNull(saga);
        var text = new StringBuilder($"digraph \"{Quoted(saga.ToString())}\" {{\n");
        text.Append("    rankdir=TB;\n    node [shape=box, style=rounded];\n");
        text.Append($"    start [shape=oval, label=\"{Quoted(saga.ToString())}\"];\n");
        foreach (var step in saga.Steps)
        {
            var lines = string.Join("\\n", Lines(step).Select(Quoted));
            text.Append($"    s{step.Index} [label=\"{lines}\"{(step.Pivot ? ", shape=hexagon, penwidth=3" : "")}];\n");
        }
        text.Append("    commit [shape=hexagon, style=filled, fillcolor=\"#f6d55c\", label=\"commit point\"];\n");
        text.Append("    done [shape=oval, label=\"Completed\"];\n");
        foreach (var (from, to) in Edges(saga)) text.Append($"    {from} -> {to};\n");
        return text.Append("}\n").ToString();
    }

    private static IEnumerable<string> Lines(StepDefinition step)
    {
        yield return step.Name;
        yield return step.Forward switch
        {
            BusEndpoint bus => $"{bus.Participant}: {bus.Command}",
            HttpEndpoint http => http.Url.GetLeftPart(UriPartial.Path),
            _ => step.Kind.ToString().ToLowerInvariant(),
        };
        yield return step.Pivot ? "pivot: no way back after it"
            : step.Kind == StepKind.Tcc ? "try, then confirm or cancel"
            : step.Undoable ? "do, or compensate"
            : step.ReadOnly || step.Kind == StepKind.Check ? "read only"
            : step.ForwardPhase.Word();
    }

    private static IEnumerable<(string From, string To)> Edges(SagaDefinition saga)
    {
        string Leaving(int step) => step == saga.Pivot ? "commit" : $"s{step}";
        foreach (var step in saga.Steps)
        {
            if (step.After.IsEmpty) yield return ("start", $"s{step.Index}");
            foreach (var before in step.After) yield return (Leaving(before), $"s{step.Index}");
            if (step.Pivot) yield return ($"s{step.Index}", "commit");
        }
        var lasts = saga.Steps.Where(step => !saga.Steps.Any(other => other.After.Contains(step.Index))).Select(step => step.Index).ToImmutableArray();
        foreach (var last in lasts) yield return (Leaving(last), saga.Pivot is null ? "commit" : "done");
        if (saga.Pivot is null) yield return ("commit", "done");
    }

    private static string Html(string text) =>
        text.Replace("&", "&amp;").Replace("\"", "&quot;").Replace("<", "&lt;").Replace(">", "&gt;").ReplaceLineEndings(" ");

    private static string Quoted(string text) => text.Replace("\\", "\\\\").Replace("\"", "\\\"").ReplaceLineEndings(" ");
}

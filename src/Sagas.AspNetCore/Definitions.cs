using System.Buffers;
using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Http;

namespace Sagas.AspNetCore;

/// <summary>The definitions that this engine runs.</summary>
internal static class Definitions
{
    public static Task List(HttpContext http)
    {
        var items = new JsonArray([.. http.Engine().Definitions.OrderBy(d => d.Name, StringComparer.Ordinal).ThenBy(d => d.Version).Select(Shape)]);
        return WriteAsync(http, new JsonObject { ["items"] = items });
    }

    public static Task Find(HttpContext http)
    {
        var definition = Named(http);
        var shape = Shape(definition);
        shape["versions"] = new JsonArray([.. http.Engine().Definitions.Where(d => d.Name == definition.Name).Select(d => d.Version).Order().Select(v => JsonValue.Create(v))]);
        shape["inFlight"] = Numbers.InFlight(http.Engine(), definition);
        shape["inputSchema"] = Schemas.Of(definition.InputType);
        shape["resultSchema"] = Schemas.Of(definition.ResultType);
        return WriteAsync(http, shape);
    }

    public static Task Graph(HttpContext http)
    {
        var format = Query.One(http.Request, "format") ?? "json";
        if (format is not ("json" or "mermaid" or "dot")) throw Problem.BadParameter("format", format, "mermaid, dot or json").Thrown();
        var definition = Named(http);
        return format switch
        {
            "mermaid" => Answer.TextAsync(http, GraphText.Mermaid(definition), "text/plain"),
            "dot" => Answer.TextAsync(http, GraphText.Dot(definition), "text/plain"),
            _ => Answer.JsonAsync(http, 200, json => DefinitionJson.WriteGraph(json, definition)),
        };
    }

    /// <summary>What a listing shows of a definition: its graph, and where it comes from.</summary>
    public static JsonObject Shape(SagaDefinition definition)
    {
        var bytes = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(bytes)) DefinitionJson.WriteGraph(json, definition);
        var graph = JsonNode.Parse(bytes.WrittenSpan)!.AsObject();
        return new JsonObject
        {
            ["name"] = definition.Name,
            ["version"] = definition.Version,
            ["source"] = definition.InputType is null ? "json" : "csharp",
            ["fingerprint"] = definition.Fingerprint,
            ["timeout"] = graph["timeout"]?.DeepClone(),
            ["pivot"] = definition.Pivot is { } pivot ? definition.Steps[pivot].Name : null,
            ["steps"] = graph["steps"]!.DeepClone(),
        };
    }

    private static SagaDefinition Named(HttpContext http)
    {
        var name = Query.Route(http, "name");
        var version = Query.Version(http.Request);
        return http.Engine().FindDefinition(name, version) ?? throw Problem.UnknownDefinition(name, version).Thrown();
    }

    private static Task WriteAsync(HttpContext http, JsonNode node) => Answer.JsonAsync(http, 200, json => node.WriteTo(json));
}

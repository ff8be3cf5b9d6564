using System.Buffers;
using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Http;
using Sagas.Runtime;

namespace Sagas.AspNetCore;

/// <summary>The definitions that this engine runs.</summary>
internal static class Definitions
{
    public static Task List(HttpContext http)
    {
        var items = new JsonArray([.. http.Engine().Definitions.OrderBy(d => d.Name, StringComparer.Ordinal).ThenBy(d => d.Version).Select(Shape)]);
        return WriteAsync(http, new JsonObject { ["items"] = items });
    }

    public static async Task Find(HttpContext http) => await WriteAsync(http, await WholeAsync(http, Named(http)));

    /// <summary>A definition with all there is to it; one that came with its saga has no other versions.</summary>
    public static async Task WriteAsync(HttpContext http, SagaDefinition definition, bool inline)
    {
        var shape = await WholeAsync(http, definition);
        if (inline) (shape["source"], shape["versions"]) = ("inline", new JsonArray(definition.Version));
        await WriteAsync(http, shape);
    }

    private static async Task<JsonObject> WholeAsync(HttpContext http, SagaDefinition definition)
    {
        var shape = Shape(definition);
        shape["versions"] = new JsonArray([.. http.Engine().Definitions.Where(d => d.Name == definition.Name).Select(d => d.Version).Order().Select(v => JsonValue.Create(v))]);
        shape["inFlight"] = Numbers.InFlight(await http.Engine().CountInFlightAsync(http.RequestAborted), definition);
        shape["inputSchema"] = Schemas.Of(definition.InputType);
        shape["resultSchema"] = Schemas.Of(definition.ResultType);
        shape["json"] = definition.Json is { } json ? JsonNode.Parse(json.Utf8.Span) : null;
        return shape;
    }

    /// <summary>The JSON Schema of a definition.</summary>
    public static Task Schema(HttpContext http) => Answer.JsonAsync(http, 200, json => json.WriteRawValue(DefinitionJson.Schema.Utf8.Span, skipInputValidation: true), "application/schema+json");

    public static async Task Put(HttpContext http)
    {
        var name = Query.Route(http, "name");
        var by = Query.Operator(http.Request);
        var reason = Query.One(http.Request, "reason")?.Trim() is { Length: > 0 } said ? said : null;
        if (reason is { Length: > Operators.MaxReason }) throw Problem.BadParameter("reason", reason, $"at most {Operators.MaxReason} characters").Thrown();
        var given = await Body.PayloadAsync(http, Body.DefinitionLimit);
        var definition = Parse(given);
        if (definition.Name != name)
            throw Problem.BadDefinition([new DefinitionFault("$.name", $"The definition is called '{definition.Name}', and the path says '{Problem.Short(name)}'. Put it under its own name.")]).Thrown();
        DefinitionResult put;
        try
        {
            put = await http.Engine().PutDefinitionAsync(definition, http.RequestAborted);
        }
        catch (DefinitionJsonException e)
        {
            throw Problem.BadDefinition(e.Faults).Thrown();
        }
        if (put.Outcome == DefinitionOutcome.Conflict) throw Problem.VersionTaken(put.Problem!).Thrown();
        if (put.Outcome == DefinitionOutcome.Saved) await Audit.KeepAsync(http, "put", "definition", name, $"v{definition.Version}", reason ?? "", by);
        var request = http.Request;
        http.Response.Headers.Location = $"{request.PathBase.Add(request.Path).ToUriComponent()}?version={definition.Version}";
        await WriteAsync(http, await WholeAsync(http, put.Definition), put.Outcome == DefinitionOutcome.Saved ? 201 : 200);
    }

    /// <summary>The definition that a body describes, or a problem with all its faults, each under <paramref name="at"/>.</summary>
    public static SagaDefinition Parse(Payload given, string at = "$")
    {
        try
        {
            return DefinitionJson.Parse(given.Utf8);
        }
        catch (DefinitionJsonException e)
        {
            throw Refused(e, at);
        }
    }

    /// <summary>A problem with all faults, each under <paramref name="at"/>.</summary>
    public static ProblemException Refused(DefinitionJsonException refused, string at) =>
        Problem.BadDefinition([.. refused.Faults.Select(fault => fault with { Path = at + fault.Path[1..] })]).Thrown();

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
            ["source"] = definition.Source.Word(),
            ["fingerprint"] = definition.Fingerprint,
            ["timeout"] = graph["timeout"]?.DeepClone(),
            ["pivot"] = definition.Pivot is { } pivot ? definition.Steps[pivot].Name : null,
            ["steps"] = graph["steps"]!.DeepClone(),
        };
    }

    public static SagaDefinition Named(HttpContext http)
    {
        var name = Query.Route(http, "name");
        var version = Query.Version(http.Request);
        return http.Engine().FindDefinition(name, version) ?? throw Problem.UnknownDefinition(name, version).Thrown();
    }

    private static Task WriteAsync(HttpContext http, JsonNode node, int status = 200) => Answer.JsonAsync(http, status, json => node.WriteTo(json));
}

using System.Collections.Concurrent;
using System.Text.Json.Nodes;
using System.Text.Json.Schema;
using System.Text.RegularExpressions;
using Sagas.Runtime;

namespace Sagas.AspNetCore;

/// <summary>JSON schemas of inputs and results, by the serializer setup that checks them.</summary>
internal static partial class Schemas
{
    private static readonly ConcurrentDictionary<Type, JsonNode?> Known = new();

    /// <summary>The schema of a type; null: the definition has no type, or the type has no schema. The caller owns it.</summary>
    public static JsonNode? Of(Type? type) => type is null ? null : Known.GetOrAdd(type, Make)?.DeepClone();

    /// <summary>What should stand where an input does not fit: from the schema, because the serializer's words name .NET types.</summary>
    public static string Expected(Type? type, StartResult result)
    {
        if (MissingPattern().Match(result.Problem ?? "") is { Success: true } missing) return $"{missing.Groups[1].Value} must be there";
        return type is not null && At(Known.GetOrAdd(type, Make), result.Path ?? "$") is { } schema ? $"expected {Words(schema)}" : "another JSON value is expected there";
    }

    private static JsonNode? Make(Type type)
    {
        try
        {
            return SagaJson.Strict.GetJsonSchemaAsNode(type, new JsonSchemaExporterOptions { TreatNullObliviousAsNonNullable = true });
        }
        catch (Exception e) when (e is NotSupportedException or InvalidOperationException)
        {
            return null;
        }
    }

    private static JsonObject? At(JsonNode? schema, string path)
    {
        foreach (Match part in PathPattern().Matches(path))
            schema = part.Groups["name"].Success ? schema?["properties"]?[part.Groups["name"].Value] ?? (schema as JsonObject)?["additionalProperties"] as JsonObject : schema?["items"];
        return schema as JsonObject;
    }

    private static string Words(JsonObject schema)
    {
        if (schema["enum"] is JsonArray words) return "one of " + string.Join(", ", words.Select(word => word?.ToJsonString() ?? "null"));
        var types = schema["type"] switch { JsonArray many => many.Select(t => t!.GetValue<string>()).ToArray(), { } one => [one.GetValue<string>()], _ => [] };
        var text = types.Length == 0 ? "another JSON value" : string.Join(" or ", types);
        if (schema["format"] is { } format) text += $" in the form of a {format}";
        if (schema["properties"] is JsonObject { Count: > 0 } properties) text += " with " + string.Join(", ", properties.Select(p => p.Key));
        return text;
    }

    [GeneratedRegex(@"missing required properties including: (.+?)\.( Path:|\s*$)")]
    private static partial Regex MissingPattern();

    [GeneratedRegex(@"\.(?<name>[^.\[\]]+)|\['(?<name>[^']*)'\]|\[\d+\]")]
    private static partial Regex PathPattern();
}

using System.Text.Json;

namespace Sagas;

/// <summary>The one serializer setup for users' types: inputs, commands, results.</summary>
public static class SagaJson
{
    /// <summary>System.Text.Json with web defaults: camelCase, case-insensitive reading, numbers also from strings. Enums are numbers unless their type says otherwise.</summary>
    public static JsonSerializerOptions Options { get; } = Make();

    /// <summary>The same for what clients send in: constructor parameters without a default are required, and what is not nullable may not be null.</summary>
    public static JsonSerializerOptions Strict { get; } = Make(strict: true);

    private static JsonSerializerOptions Make(bool strict = false)
    {
        var options = new JsonSerializerOptions(JsonSerializerDefaults.Web)
        {
            // Room for what carries a payload around it: {"items":[{"payload":{"command":…}}]}.
            MaxDepth = Payload.MaxDepth + 8, RespectNullableAnnotations = strict, RespectRequiredConstructorParameters = strict,
        };
        options.MakeReadOnly(populateMissingResolver: true);
        return options;
    }
}

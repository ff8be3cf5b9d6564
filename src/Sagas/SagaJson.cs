using System.Text.Json;

namespace Sagas;

/// <summary>The one serializer setup for users' types: inputs, commands, results.</summary>
public static class SagaJson
{
    /// <summary>System.Text.Json with web defaults: camelCase, case-insensitive reading, numbers also from strings. Enums are numbers unless their type says otherwise.</summary>
    public static JsonSerializerOptions Options { get; } = Make();

    private static JsonSerializerOptions Make()
    {
        var options = new JsonSerializerOptions(JsonSerializerDefaults.Web) { MaxDepth = 64 };
        options.MakeReadOnly(populateMissingResolver: true);
        return options;
    }
}

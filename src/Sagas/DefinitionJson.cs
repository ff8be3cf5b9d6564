using System.Buffers;
using System.Security.Cryptography;
using System.Text.Json;
using System.Xml;

namespace Sagas;

/// <summary>One fault of a definition in JSON.</summary>
/// <param name="Path">Where: a JSON path such as <c>$.steps[1].after[0]</c>.</param>
/// <param name="Message">What is wrong, and what to do.</param>
public sealed record DefinitionFault(string Path, string Message);

/// <summary>A definition in JSON that is wrong, with all its faults.</summary>
public sealed class DefinitionJsonException(IReadOnlyList<DefinitionFault> faults)
    : Exception($"{faults.Count} faults in the definition:{string.Concat(faults.Take(20).Select(f => $"\n  - {f.Path}: {f.Message}"))}{(faults.Count > 20 ? "\n  - …" : "")}")
{
    /// <summary>Every fault.</summary>
    public IReadOnlyList<DefinitionFault> Faults { get; } = faults;
}

/// <summary>Definitions in JSON: read from it, and a graph written as it: what listings show and what the fingerprint of a C# definition is taken of.</summary>
public static partial class DefinitionJson
{
    /// <summary>The definition that a JSON text describes.</summary>
    /// <exception cref="DefinitionJsonException">All the text's faults, each with its JSON path.</exception>
    public static SagaDefinition Parse(ReadOnlyMemory<byte> utf8) => DefinitionReader.Read(utf8);

    /// <summary>Writes <c>{name, version, timeout, steps: [{name, kind, after, participant, command, …}]}</c>.</summary>
    public static void WriteGraph(Utf8JsonWriter json, SagaDefinition saga)
    {
        json.WriteStartObject();
        json.WriteString("name", saga.Name);
        json.WriteNumber("version", saga.Version);
        if (saga.Timeout is { } timeout) json.WriteString("timeout", XmlConvert.ToString(timeout));
        json.WriteStartArray("steps");
        foreach (var step in saga.Steps) WriteStep(json, saga, step);
        json.WriteEndArray();
        json.WriteEndObject();
    }

    internal static string Fingerprint(SagaDefinition saga)
    {
        var bytes = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(bytes))
        {
            // Mappings are part of a definition in JSON, so its print is taken of the text, not of the graph.
            if (saga.Json is { } given)
            {
                using var document = JsonDocument.Parse(given.Utf8);
                WriteCanonical(json, document.RootElement);
            }
            else WriteGraph(json, saga);
        }
        return Convert.ToHexStringLower(SHA256.HashData(bytes.WrittenSpan));
    }

    /// <summary>The same bytes for the same JSON: members sorted, numbers in one spelling.</summary>
    private static void WriteCanonical(Utf8JsonWriter json, JsonElement value)
    {
        switch (value.ValueKind)
        {
            case JsonValueKind.Object:
                json.WriteStartObject();
                foreach (var member in value.EnumerateObject().OrderBy(m => m.Name, StringComparer.Ordinal))
                {
                    json.WritePropertyName(member.Name);
                    WriteCanonical(json, member.Value);
                }
                json.WriteEndObject();
                break;
            case JsonValueKind.Array:
                json.WriteStartArray();
                foreach (var item in value.EnumerateArray()) WriteCanonical(json, item);
                json.WriteEndArray();
                break;
            case JsonValueKind.Number:
                json.WriteRawValue(CanonicalNumber(value.GetRawText()), skipInputValidation: true);
                break;
            default:
                value.WriteTo(json);
                break;
        }
    }

    /// <summary>30, 30.0 and 3e1 are all 3e1.</summary>
    private static string CanonicalNumber(string text)
    {
        var e = text.IndexOfAny(['e', 'E']);
        var exponent = e < 0 ? System.Numerics.BigInteger.Zero : System.Numerics.BigInteger.Parse(text[(e + 1)..], System.Globalization.CultureInfo.InvariantCulture);
        var mantissa = e < 0 ? text : text[..e];
        var sign = mantissa[0] == '-' ? "-" : "";
        var parts = mantissa.TrimStart('-').Split('.');
        var fraction = parts.Length > 1 ? parts[1] : "";
        var digits = (parts[0] + fraction).TrimStart('0');
        var significant = digits.TrimEnd('0');
        return significant.Length == 0 ? "0" : $"{sign}{significant}e{exponent - fraction.Length + (digits.Length - significant.Length)}";
    }

    private static void WriteStep(Utf8JsonWriter json, SagaDefinition saga, StepDefinition step)
    {
        json.WriteStartObject();
        json.WriteString("name", step.Name);
        json.WriteString("kind", step.Kind.ToString().ToLowerInvariant());
        json.WriteStartArray("after");
        foreach (var before in step.After) json.WriteStringValue(saga.Steps[before].Name);
        json.WriteEndArray();
        if (step.Forward is BusEndpoint bus) json.WriteString("participant", bus.Participant);
        WriteEndpoint(json, step.ForwardPhase, step.Forward);
        WriteEndpoint(json, Phase.Confirm, step.Confirm);
        WriteEndpoint(json, step.UndoPhase, step.Undo);
        json.WriteBoolean("pivot", step.Pivot);
        json.WriteBoolean("readOnly", step.ReadOnly);
        json.WriteString("timeout", XmlConvert.ToString(step.Timeout));
        json.WriteStartObject("retry");
        json.WriteNumber("attempts", step.Retry.Attempts);
        json.WriteString("first", XmlConvert.ToString(step.Retry.First));
        json.WriteString("max", XmlConvert.ToString(step.Retry.Max));
        json.WriteNumber("factor", step.Retry.Factor);
        json.WriteEndObject();
        if (!step.NoRetryOn.IsEmpty)
        {
            json.WriteStartArray("noRetryOn");
            foreach (var code in step.NoRetryOn) json.WriteStringValue(code);
            json.WriteEndArray();
        }
        if (!step.Headers.IsEmpty)
        {
            json.WriteStartObject("headers");
            foreach (var (name, value) in step.Headers) json.WriteString(name, value);
            json.WriteEndObject();
        }
        if (!step.RefuseOn.IsEmpty)
        {
            json.WriteStartArray("refuseOn");
            foreach (var status in step.RefuseOn) json.WriteNumberValue(status);
            json.WriteEndArray();
        }
        if (step.CallbackWithin != StepDefinition.DefaultCallbackWithin) json.WriteString("callbackWithin", XmlConvert.ToString(step.CallbackWithin));
        json.WriteEndObject();
    }

    private static void WriteEndpoint(Utf8JsonWriter json, Phase phase, Endpoint? endpoint)
    {
        if (endpoint is null) return;
        json.WriteString(phase.ToString().ToLowerInvariant(), endpoint switch
        {
            BusEndpoint bus => $"bus:{bus.Participant}/{bus.Command}",
            HttpEndpoint http => http.Url.AbsoluteUri,
            _ => endpoint.ToString(),
        });
    }
}

using System.Buffers;
using System.Security.Cryptography;
using System.Text.Json;
using System.Xml;

namespace Sagas;

/// <summary>A definition's graph as JSON: what listings show and what the fingerprint is taken of.</summary>
public static class DefinitionJson
{
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
        using (var json = new Utf8JsonWriter(bytes)) WriteGraph(json, saga);
        return Convert.ToHexStringLower(SHA256.HashData(bytes.WrittenSpan));
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

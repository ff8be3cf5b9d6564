using System.Buffers;
using System.Text.Json;

namespace Sagas.Runtime;

/// <summary>
/// What an operator did, in one line. A saga's history is the record of what was done to it; these lines are kept beside all histories, so that it
/// is found by time whatever it was done to.
/// </summary>
public sealed record AuditEntry
{
    /// <summary>How many entries a store keeps at least, the newest; older ones may go.</summary>
    public const int MostKept = 10_000;

    /// <summary>Its id; later ones sort after earlier ones.</summary>
    public required string Id { get; init; }

    /// <summary>When it had been done.</summary>
    public required DateTimeOffset At { get; init; }

    /// <summary>Who did it.</summary>
    public required string By { get; init; }

    /// <summary>What was done: <c>cancel</c>, <c>retry</c>, <c>pause</c>, <c>resume</c>, <c>terminate</c>, <c>resolve</c>, <c>put</c>, <c>stop</c>, <c>replay</c> or <c>discard</c>.</summary>
    public required string Action { get; init; }

    /// <summary>To what: <c>saga</c>, <c>operation</c>, <c>definition</c> or <c>dead-letter</c>.</summary>
    public required string Kind { get; init; }

    /// <summary>Its id or name.</summary>
    public required string Target { get; init; }

    /// <summary>More about it, such as a step and its outcome, or a version; null: there is none.</summary>
    public string? Detail { get; init; }

    /// <summary>Why.</summary>
    public required string Reason { get; init; }

    /// <summary>All of it as one JSON object, for stores that keep bytes.</summary>
    public byte[] ToUtf8()
    {
        var bytes = new ArrayBufferWriter<byte>(256);
        using (var json = new Utf8JsonWriter(bytes))
        {
            json.WriteStartObject();
            json.WriteString("id"u8, Id);
            json.WriteString("at"u8, At);
            json.WriteString("by"u8, By);
            json.WriteString("action"u8, Action);
            json.WriteString("kind"u8, Kind);
            json.WriteString("target"u8, Target);
            json.WriteString("detail"u8, Detail);
            json.WriteString("reason"u8, Reason);
            json.WriteEndObject();
        }
        return bytes.WrittenSpan.ToArray();
    }

    /// <summary>Reads what <see cref="ToUtf8"/> wrote; unknown fields are ignored.</summary>
    /// <exception cref="JsonException">It is none.</exception>
    public static AuditEntry Parse(ReadOnlyMemory<byte> utf8)
    {
        using var document = JsonDocument.Parse(utf8);
        var root = document.RootElement;
        return new AuditEntry
        {
            Id = TextOf("id"), At = root.TryGetProperty("at", out var at) && at.TryGetDateTimeOffset(out var time) ? time : throw Broken("at"), By = TextOf("by"), Action = TextOf("action"),
            Kind = TextOf("kind"), Target = TextOf("target"), Detail = root.TryGetProperty("detail", out var detail) ? detail.GetString() : null, Reason = TextOf("reason"),
        };

        string TextOf(string name) => root.TryGetProperty(name, out var value) && value.GetString() is { } text ? text : throw Broken(name);
        static JsonException Broken(string name) => new($"An audit entry has '{name}'.");
    }
}

using System.Buffers;
using System.Collections.Immutable;
using System.Globalization;
using System.Text.Json;

namespace Sagas.Runtime;

/// <summary>What an operation asks of each saga.</summary>
public enum OperationAction
{
    /// <summary>Turn it back.</summary>
    Cancel,
    /// <summary>Ask its waiting steps again at once.</summary>
    Retry,
    /// <summary>Hold it.</summary>
    Pause,
    /// <summary>Let it go on.</summary>
    Resume,
    /// <summary>End it where it stands.</summary>
    Terminate,
}

/// <summary>How far an operation is.</summary>
public enum OperationStatus
{
    /// <summary>It goes from saga to saga; a restart does not end it.</summary>
    Running,
    /// <summary>All that matched were asked.</summary>
    Done,
    /// <summary>An operator stopped it: those asked before stay as they are.</summary>
    Cancelled,
}

/// <summary>A saga that did not do what an operation asked.</summary>
/// <param name="Saga">Its id.</param>
/// <param name="Message">Why not, and what to do.</param>
public sealed record OperationError(string Saga, string Message);

/// <summary>One request of an operator to all sagas that match a filter. Immutable; kept in the store, one version over the other.</summary>
public sealed record Operation
{
    /// <summary>The most errors that are kept; more are only counted.</summary>
    public const int MaxErrors = 100;

    /// <summary>Its id; later ones sort after earlier ones.</summary>
    public required string Id { get; init; }

    /// <summary>How often it was saved, from 1; the store compares and sets it.</summary>
    public long Version { get; init; }

    /// <summary>What it asks.</summary>
    public required OperationAction Action { get; init; }

    /// <summary>Of which sagas. Those that start after the operation are not asked.</summary>
    public required SagaFilter Filter { get; init; }

    /// <summary>Why; stands in each saga's history.</summary>
    public required string Reason { get; init; }

    /// <summary>Who asked; stands in each saga's history.</summary>
    public required string By { get; init; }

    /// <summary>How far it is.</summary>
    public OperationStatus Status { get; init; }

    /// <summary>How many sagas matched when it began.</summary>
    public long Matched { get; init; }

    /// <summary>How many did what was asked.</summary>
    public long Done { get; init; }

    /// <summary>How many did not: their state does not allow it, or they are gone.</summary>
    public long Failed { get; init; }

    /// <summary>The first that did not.</summary>
    public ImmutableArray<OperationError> Errors { get; init; } = [];

    /// <summary>When it began.</summary>
    public DateTimeOffset StartedAt { get; init; }

    /// <summary>When it was last saved: one that runs is saved every few seconds.</summary>
    public DateTimeOffset UpdatedAt { get; init; }

    /// <summary>When it ended.</summary>
    public DateTimeOffset? FinishedAt { get; init; }

    /// <summary>Who stopped it.</summary>
    public string? CancelledBy { get; init; }

    /// <summary>Why it was stopped.</summary>
    public string? CancelReason { get; init; }

    /// <summary>Where it goes on: the cursor of the page that it is at.</summary>
    public string? Cursor { get; init; }

    /// <summary>Which node carries it out; null: the next that sees it.</summary>
    public string? Node { get; init; }

    /// <summary>All of it as one JSON object, for stores that keep bytes.</summary>
    public byte[] ToUtf8()
    {
        var bytes = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(bytes))
        {
            json.WriteStartObject();
            json.WriteString("id"u8, Id);
            json.WriteNumber("version"u8, Version);
            json.WriteString("action"u8, Action.ToString());
            json.WritePropertyName("filter"u8);
            WriteFilter(json, Filter);
            json.WriteString("reason"u8, Reason);
            json.WriteString("by"u8, By);
            json.WriteString("status"u8, Status.ToString());
            json.WriteNumber("matched"u8, Matched);
            json.WriteNumber("done"u8, Done);
            json.WriteNumber("failed"u8, Failed);
            json.WriteStartArray("errors"u8);
            foreach (var (saga, message) in Errors)
            {
                json.WriteStartArray();
                json.WriteStringValue(saga);
                json.WriteStringValue(message);
                json.WriteEndArray();
            }
            json.WriteEndArray();
            json.WriteString("startedAt"u8, StartedAt);
            json.WriteString("updatedAt"u8, UpdatedAt);
            if (FinishedAt is { } finished) json.WriteString("finishedAt"u8, finished);
            if (CancelledBy is not null) json.WriteString("cancelledBy"u8, CancelledBy);
            if (CancelReason is not null) json.WriteString("cancelReason"u8, CancelReason);
            if (Cursor is not null) json.WriteString("cursor"u8, Cursor);
            if (Node is not null) json.WriteString("node"u8, Node);
            json.WriteEndObject();
        }
        return bytes.WrittenSpan.ToArray();
    }

    /// <summary>Reads what <see cref="ToUtf8"/> wrote; unknown fields are ignored.</summary>
    /// <exception cref="JsonException">It is none.</exception>
    public static Operation Parse(ReadOnlyMemory<byte> utf8)
    {
        using var document = JsonDocument.Parse(utf8);
        var root = document.RootElement;
        try
        {
            return new Operation
            {
                Id = root.GetProperty("id").GetString()!,
                Version = root.GetProperty("version").GetInt64(),
                Action = Enum.Parse<OperationAction>(root.GetProperty("action").GetString()!),
                Filter = ReadFilter(root.GetProperty("filter")),
                Reason = root.GetProperty("reason").GetString()!,
                By = root.GetProperty("by").GetString()!,
                Status = Enum.Parse<OperationStatus>(root.GetProperty("status").GetString()!),
                Matched = root.GetProperty("matched").GetInt64(),
                Done = root.GetProperty("done").GetInt64(),
                Failed = root.GetProperty("failed").GetInt64(),
                Errors = [.. root.GetProperty("errors").EnumerateArray().Select(error => new OperationError(error[0].GetString()!, error[1].GetString()!))],
                StartedAt = root.GetProperty("startedAt").GetDateTimeOffset(),
                UpdatedAt = root.GetProperty("updatedAt").GetDateTimeOffset(),
                FinishedAt = root.TryGetProperty("finishedAt", out var finished) ? finished.GetDateTimeOffset() : null,
                CancelledBy = Text("cancelledBy"),
                CancelReason = Text("cancelReason"),
                Cursor = Text("cursor"),
                Node = Text("node"),
            };
        }
        catch (Exception e) when (e is KeyNotFoundException or InvalidOperationException or FormatException or ArgumentException)
        {
            throw new JsonException($"A stored operation cannot be read: {e.Message}", e);
        }

        string? Text(string name) => root.TryGetProperty(name, out var text) ? text.GetString() : null;
    }

    /// <summary>Writes a filter with the names of the listing's parameters; what it does not name is left out.</summary>
    public static void WriteFilter(Utf8JsonWriter json, SagaFilter filter)
    {
        ArgumentNullException.ThrowIfNull(json);
        ArgumentNullException.ThrowIfNull(filter);
        json.WriteStartObject();
        Many("status", filter.Statuses is { IsDefault: false } statuses ? statuses.Select(status => status.ToString()) : null);
        One("definition", filter.Definition);
        Many("tag", filter.Tags is { IsDefault: false } tags ? tags.Select(tag => $"{tag.Key}:{tag.Value}") : null);
        One("step", filter.Step);
        One("q", filter.Text);
        One("error", filter.Error);
        One("startedAfter", Time(filter.StartedAfter));
        One("startedBefore", Time(filter.StartedBefore));
        json.WriteEndObject();

        void One(string name, string? text)
        {
            if (text is not null) json.WriteString(name, text);
        }

        void Many(string name, IEnumerable<string>? texts)
        {
            if (texts is null) return;
            json.WriteStartArray(name);
            foreach (var text in texts) json.WriteStringValue(text);
            json.WriteEndArray();
        }

        static string? Time(DateTimeOffset? time) => time?.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.FFFFFFF'Z'", CultureInfo.InvariantCulture);
    }

    private static SagaFilter ReadFilter(JsonElement json)
    {
        return new SagaFilter(
            Many("status") is { } statuses ? [.. statuses.Select(Enum.Parse<SagaStatus>)] : null,
            One("definition"),
            Many("tag") is { } tags ? [.. tags.Select(tag => new KeyValuePair<string, string>(tag[..tag.IndexOf(':')], tag[(tag.IndexOf(':') + 1)..]))] : null,
            One("step"), One("q"), Time("startedAfter"), Time("startedBefore")) { Error = One("error") };

        string? One(string name) => json.TryGetProperty(name, out var text) ? text.GetString() : null;

        IEnumerable<string>? Many(string name) => json.TryGetProperty(name, out var texts) ? texts.EnumerateArray().Select(text => text.GetString()!).ToArray() : null;

        DateTimeOffset? Time(string name) => json.TryGetProperty(name, out var time) ? time.GetDateTimeOffset() : null;
    }
}

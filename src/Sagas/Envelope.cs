using System.Runtime.InteropServices;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Unicode;

namespace Sagas;

/// <summary>Many commands of many sagas in one bus message: <c>{"items":[…]}</c> on the queue <c>sagas.{participant}</c>.</summary>
/// <param name="Items">The commands; an item that fails does not fail the others.</param>
[JsonConverter(typeof(CommandBatchConverter))]
public sealed record CommandBatch(IReadOnlyList<CommandItem> Items)
{
    /// <summary>The highest priority among the sagas whose commands these are, 0 to 9: for buses that deliver by it. Not part of the JSON. Default 5.</summary>
    public int Priority { get; init; } = 5;
}

/// <summary>Many replies in one bus message: <c>{"items":[…]}</c> on the queue that the commands named in <c>replyTo</c>.</summary>
/// <param name="Items">The replies.</param>
[JsonConverter(typeof(ReplyBatchConverter))]
public sealed record ReplyBatch(IReadOnlyList<ReplyItem> Items);

/// <summary>One command on the wire.</summary>
/// <param name="Saga">The saga's id.</param>
/// <param name="Step">The step's name.</param>
/// <param name="Phase"><c>try|confirm|cancel|do|compensate|check</c>.</param>
/// <param name="Attempt">From 1.</param>
/// <param name="Command">The command's wire name.</param>
/// <param name="Key">The idempotency key, <c>{saga}/{step}/{phase}</c>: the same for every attempt.</param>
/// <param name="Payload">The command's JSON. For confirm and cancel <c>{"command":…,"result":…}</c>. JSON null for a compensation whose step's result is not known and is needed: a participant that knows the result answers with a reply of phase <c>do</c>.</param>
/// <param name="Deadline">When the engine stops waiting for this attempt.</param>
/// <param name="ReplyTo">The queue for the reply.</param>
/// <param name="TraceParent">W3C trace context, or null.</param>
public sealed record CommandItem(string Saga, string Step, Phase Phase, int Attempt, string Command, string Key, Payload Payload,
    DateTimeOffset? Deadline, string ReplyTo, string? TraceParent);

/// <summary>One reply on the wire.</summary>
/// <param name="Saga">The command's saga.</param>
/// <param name="Step">The command's step.</param>
/// <param name="Phase">The command's phase.</param>
/// <param name="Attempt">The command's attempt.</param>
/// <param name="Outcome"><c>ok|refused|error|busy</c>.</param>
/// <param name="Payload">The result, or null.</param>
/// <param name="Code">For refused and error: a code for programs.</param>
/// <param name="Message">For refused and error: a sentence for people.</param>
/// <param name="RetryAfter">For busy: when to ask again, in seconds on the wire.</param>
/// <param name="InDoubt">For refused and busy: the same try or do was begun before and left no answer, so that there may be something to undo all the same.</param>
public sealed record ReplyItem(string Saga, string Step, Phase Phase, int Attempt, Outcome Outcome, Payload? Payload = null, string? Code = null,
    string? Message = null, TimeSpan? RetryAfter = null, bool InDoubt = false);

/// <summary>The wire's words for phases and outcomes.</summary>
public static class Wire
{
    private static readonly string[] Phases = ["try", "confirm", "cancel", "do", "compensate", "check"];
    private static readonly string[] Outcomes = ["ok", "refused", "error", "busy"];

    /// <summary>The wire's word for a phase.</summary>
    public static string Word(this Phase phase) => Phases[(int)phase];

    /// <summary>The wire's word for an outcome.</summary>
    public static string Word(this Outcome outcome) => Outcomes[(int)outcome];

    /// <summary>The phase of that word. Throws <see cref="JsonException"/> when there is none.</summary>
    public static Phase PhaseOf(string? word) => (Phase)IndexOf(Phases, word, "phase");

    /// <summary>The outcome of that word. Throws <see cref="JsonException"/> when there is none.</summary>
    public static Outcome OutcomeOf(string? word) => (Outcome)IndexOf(Outcomes, word, "outcome");

    /// <summary>The idempotency key of a step's phase.</summary>
    public static string Key(string saga, string step, Phase phase) => string.Concat(saga, "/", step, phase switch
    {
        Phase.Try => "/try", Phase.Confirm => "/confirm", Phase.Cancel => "/cancel", Phase.Do => "/do", Phase.Compensate => "/compensate", _ => "/check",
    });

    private static int IndexOf(string[] words, string? word, string what)
    {
        var index = Array.IndexOf(words, word);
        return index >= 0 ? index : throw new JsonException($"'{word}' is no {what}. Use one of {string.Join(", ", words)}.");
    }
}

/// <summary>Hand-written, because every command and reply passes here: payloads are copied as they are, never parsed into objects.</summary>
internal sealed class CommandBatchConverter : JsonConverter<CommandBatch>
{
    public override bool HandleNull => true;

    public override CommandBatch Read(ref Utf8JsonReader json, Type type, JsonSerializerOptions options) =>
        new(EnvelopeReader.Items(ref json, static (ref Utf8JsonReader item) => ReadItem(ref item)));

    public override void Write(Utf8JsonWriter json, CommandBatch batch, JsonSerializerOptions options)
    {
        json.WriteStartObject();
        json.WriteStartArray("items"u8);
        foreach (var item in batch.Items)
        {
            json.WriteStartObject();
            json.WriteString("saga"u8, item.Saga);
            json.WriteString("step"u8, item.Step);
            json.WriteString("phase"u8, item.Phase.Word());
            json.WriteNumber("attempt"u8, item.Attempt);
            json.WriteString("command"u8, item.Command);
            json.WriteString("key"u8, item.Key);
            json.WritePropertyName("payload"u8);
            json.WriteRawValue(item.Payload.Utf8.Span, skipInputValidation: true);
            if (item.Deadline is { } deadline) json.WriteString("deadline"u8, deadline.UtcDateTime);
            json.WriteString("replyTo"u8, item.ReplyTo);
            if (item.TraceParent is not null) json.WriteString("traceparent"u8, item.TraceParent);
            json.WriteEndObject();
        }
        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static CommandItem ReadItem(ref Utf8JsonReader json)
    {
        string? saga = null, step = null, command = null, key = null, replyTo = null, traceParent = null;
        Phase? phase = null;
        var attempt = 1;
        Payload? payload = null;
        DateTimeOffset? deadline = null;
        while (EnvelopeReader.Next(ref json))
        {
            if (json.ValueTextEquals("saga"u8)) saga = EnvelopeReader.Text(ref json);
            else if (json.ValueTextEquals("step"u8)) step = EnvelopeReader.Text(ref json);
            else if (json.ValueTextEquals("phase"u8)) phase = Wire.PhaseOf(EnvelopeReader.Text(ref json));
            else if (json.ValueTextEquals("attempt"u8)) attempt = EnvelopeReader.Number(ref json);
            else if (json.ValueTextEquals("command"u8)) command = EnvelopeReader.Text(ref json);
            else if (json.ValueTextEquals("key"u8)) key = EnvelopeReader.Text(ref json);
            // One deeper: confirm and cancel wrap command and result.
            else if (json.ValueTextEquals("payload"u8)) payload = EnvelopeReader.Raw(ref json, Payload.MaxDepth + 1);
            else if (json.ValueTextEquals("deadline"u8)) deadline = EnvelopeReader.Time(ref json);
            else if (json.ValueTextEquals("replyTo"u8)) replyTo = EnvelopeReader.Text(ref json);
            else if (json.ValueTextEquals("traceparent"u8)) traceParent = EnvelopeReader.Text(ref json);
            else EnvelopeReader.Skip(ref json);
        }
        return new CommandItem(EnvelopeReader.Required(saga, "saga"), EnvelopeReader.Required(step, "step"),
            phase ?? throw new JsonException("An item has no 'phase'."), attempt, EnvelopeReader.Required(command, "command"),
            key ?? Wire.Key(saga!, step!, phase.Value), payload ?? Payload.Null, deadline, EnvelopeReader.Required(replyTo, "replyTo"), traceParent);
    }
}

internal sealed class ReplyBatchConverter : JsonConverter<ReplyBatch>
{
    public override bool HandleNull => true;

    public override ReplyBatch Read(ref Utf8JsonReader json, Type type, JsonSerializerOptions options) =>
        new(EnvelopeReader.Items(ref json, static (ref Utf8JsonReader item) => ReadItem(ref item)));

    public override void Write(Utf8JsonWriter json, ReplyBatch batch, JsonSerializerOptions options)
    {
        json.WriteStartObject();
        json.WriteStartArray("items"u8);
        foreach (var item in batch.Items)
        {
            json.WriteStartObject();
            json.WriteString("saga"u8, item.Saga);
            json.WriteString("step"u8, item.Step);
            json.WriteString("phase"u8, item.Phase.Word());
            json.WriteNumber("attempt"u8, item.Attempt);
            json.WriteString("outcome"u8, item.Outcome.Word());
            if (item.Payload is not null)
            {
                json.WritePropertyName("payload"u8);
                json.WriteRawValue(item.Payload.Utf8.Span, skipInputValidation: true);
            }
            if (item.Code is not null) json.WriteString("code"u8, item.Code);
            if (item.Message is not null) json.WriteString("message"u8, item.Message);
            if (item.RetryAfter is { } after) json.WriteNumber("retryAfter"u8, after.TotalSeconds);
            if (item.InDoubt) json.WriteBoolean("inDoubt"u8, true);
            json.WriteEndObject();
        }
        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static ReplyItem ReadItem(ref Utf8JsonReader json)
    {
        string? saga = null, step = null, code = null, message = null;
        Phase? phase = null;
        Outcome? outcome = null;
        var attempt = 1;
        Payload? payload = null;
        TimeSpan? retryAfter = null;
        var inDoubt = false;
        while (EnvelopeReader.Next(ref json))
        {
            if (json.ValueTextEquals("saga"u8)) saga = EnvelopeReader.Text(ref json);
            else if (json.ValueTextEquals("step"u8)) step = EnvelopeReader.Text(ref json);
            else if (json.ValueTextEquals("phase"u8)) phase = Wire.PhaseOf(EnvelopeReader.Text(ref json));
            else if (json.ValueTextEquals("attempt"u8)) attempt = EnvelopeReader.Number(ref json);
            else if (json.ValueTextEquals("outcome"u8)) outcome = Wire.OutcomeOf(EnvelopeReader.Text(ref json));
            else if (json.ValueTextEquals("payload"u8)) payload = EnvelopeReader.Raw(ref json);
            else if (json.ValueTextEquals("code"u8)) code = EnvelopeReader.Text(ref json);
            else if (json.ValueTextEquals("message"u8)) message = EnvelopeReader.Text(ref json);
            else if (json.ValueTextEquals("retryAfter"u8)) retryAfter = EnvelopeReader.Seconds(ref json);
            else if (json.ValueTextEquals("inDoubt"u8)) inDoubt = EnvelopeReader.Flag(ref json);
            else EnvelopeReader.Skip(ref json);
        }
        return new ReplyItem(EnvelopeReader.Required(saga, "saga"), EnvelopeReader.Required(step, "step"),
            phase ?? throw new JsonException("An item has no 'phase'."), attempt,
            outcome ?? throw new JsonException("An item has no 'outcome'."), payload, code, message, retryAfter, inDoubt);
    }
}

/// <summary>Small steps through an envelope. Unknown fields are skipped, so that either side may be newer.</summary>
internal static class EnvelopeReader
{
    public delegate T ItemReader<out T>(ref Utf8JsonReader json);

    public static List<T> Items<T>(ref Utf8JsonReader json, ItemReader<T> read)
    {
        List<T>? items = null;
        if (json.TokenType != JsonTokenType.StartObject) throw new JsonException("An envelope is an object with 'items'.");
        while (Next(ref json))
        {
            if (!json.ValueTextEquals("items"u8)) { Skip(ref json); continue; }
            json.Read();
            if (json.TokenType != JsonTokenType.StartArray) throw new JsonException("An envelope's 'items' is an array.");
            items = new List<T>();
            while (json.Read() && json.TokenType != JsonTokenType.EndArray)
            {
                if (json.TokenType != JsonTokenType.StartObject) throw new JsonException("An envelope's item is an object.");
                items.Add(read(ref json));
            }
        }
        return items ?? throw new JsonException("An envelope has no 'items'.");
    }

    /// <summary>On to the next property's name, or false at the object's end.</summary>
    public static bool Next(ref Utf8JsonReader json) => json.Read() && json.TokenType == JsonTokenType.PropertyName;

    public static void Skip(ref Utf8JsonReader json)
    {
        json.Read();
        json.Skip();
    }

    public static string? Text(ref Utf8JsonReader json)
    {
        json.Read();
        return json.TokenType is JsonTokenType.String or JsonTokenType.Null ? Decoded(ref json) : throw new JsonException("A text was expected.");
    }

    /// <summary>The text of the token: a value or a property's name.</summary>
    public static string? Decoded(ref Utf8JsonReader json)
    {
        try
        {
            return json.GetString();
        }
        catch (InvalidOperationException e)
        {
            throw new JsonException("A text is not valid UTF-8 or has half a surrogate pair.", e);
        }
    }

    public static int Number(ref Utf8JsonReader json)
    {
        json.Read();
        return json.TokenType == JsonTokenType.Number && json.TryGetInt32(out var number) ? number : throw new JsonException("A whole number was expected.");
    }

    public static bool Flag(ref Utf8JsonReader json)
    {
        json.Read();
        return json.TokenType is JsonTokenType.True or JsonTokenType.False ? json.GetBoolean() : throw new JsonException("True or false was expected.");
    }

    public static TimeSpan? Seconds(ref Utf8JsonReader json)
    {
        json.Read();
        if (json.TokenType == JsonTokenType.Null) return null;
        if (json.TokenType != JsonTokenType.Number || !json.TryGetDouble(out var seconds) || !(seconds is >= 0 and < 1e9))
            throw new JsonException("A number of seconds was expected.");
        return TimeSpan.FromSeconds(seconds);
    }

    public static DateTimeOffset? Time(ref Utf8JsonReader json)
    {
        json.Read();
        if (json.TokenType == JsonTokenType.Null) return null;
        return json.TokenType == JsonTokenType.String && json.TryGetDateTimeOffset(out var time) ? time : throw new JsonException("A time was expected.");
    }

    /// <summary>The next value's bytes, copied.</summary>
    public static Payload Raw(ref Utf8JsonReader json, int maxDepth = Payload.MaxDepth)
    {
        json.Read();
        if (json.TokenType == JsonTokenType.Null) return Payload.Null;
        using var document = JsonDocument.ParseValue(ref json);
        var bytes = JsonMarshal.GetRawUtf8Value(document.RootElement);
        // The reader looks at texts only when they are asked for, and nobody asks for these before they are stored and sent on.
        if (!Utf8.IsValid(bytes)) throw new JsonException("A payload is not valid UTF-8.");
        if (Payload.IsDeeper(bytes, maxDepth)) throw new JsonException($"A payload nests deeper than {maxDepth} levels.");
        return new Payload(bytes.ToArray());
    }

    public static string Required(string? text, string field) => text ?? throw new JsonException($"An item has no '{field}'.");
}

using System.Buffers;
using System.Collections.Immutable;
using System.Text.Json;

namespace Sagas;

/// <summary>A saga's state and history as stored: terse JSON, times in Unix milliseconds, absent means default. Format 1; unknown fields are ignored.</summary>
public static class StateJson
{
    private static readonly JsonWriterOptions Raw = new() { SkipValidation = true };

    // A payload at its deepest stands two levels down in a state.
    private static readonly JsonReaderOptions Deep = new() { MaxDepth = Payload.MaxDepth + 8 };

    [ThreadStatic] private static Utf8JsonWriter? t_writer;

    /// <summary>Writes the state.</summary>
    public static void Write(IBufferWriter<byte> to, SagaState saga)
    {
        ArgumentNullException.ThrowIfNull(saga);
        var json = Writer(to);
        json.WriteStartObject();
        json.WriteString("id"u8, saga.Id.Value);
        json.WriteString("d"u8, saga.Definition);
        json.WriteNumber("dv"u8, saga.DefinitionVersion);
        if (saga.Inline is { } inline)
        {
            json.WriteString("ih"u8, inline.Fingerprint);
            Value(json, "ij"u8, inline.Json);
        }
        json.WriteNumber("v"u8, saga.Version);
        json.WriteNumber("s"u8, (int)saga.Course);
        if (saga.Paused) json.WriteBoolean("p"u8, true);
        if (saga.Mixed) json.WriteBoolean("m"u8, true);
        Value(json, "in"u8, saga.Input);
        Value(json, "out"u8, saga.Result);
        Error(json, saga.Error);
        json.WriteNumber("at"u8, saga.StartedAt.ToUnixTimeMilliseconds());
        json.WriteNumber("up"u8, saga.UpdatedAt.ToUnixTimeMilliseconds());
        Time(json, "co"u8, saga.CommittedAt);
        Time(json, "fi"u8, saga.FinishedAt);
        Time(json, "dl"u8, saga.Deadline);
        json.WriteNumber("h"u8, saga.HistoryCount);
        if (saga.Priority != 5) json.WriteNumber("pr"u8, saga.Priority);
        if (saga.TraceParent is not null) json.WriteString("tp"u8, saga.TraceParent);
        if (!saga.Tags.IsEmpty)
        {
            json.WriteStartObject("t"u8);
            foreach (var (key, value) in saga.Tags) json.WriteString(key, value);
            json.WriteEndObject();
        }
        json.WriteStartArray("st"u8);
        foreach (var step in saga.Steps) Step(json, step);
        json.WriteEndArray();
        json.WriteEndObject();
        json.Flush();
    }

    /// <summary>Reads a state that <see cref="Write(IBufferWriter{byte}, SagaState)"/> wrote. Throws <see cref="JsonException"/> when it is none.</summary>
    public static SagaState Read(ReadOnlySpan<byte> bytes)
    {
        var json = new Utf8JsonReader(bytes, Deep);
        if (!json.Read() || json.TokenType != JsonTokenType.StartObject) throw new JsonException("A stored saga is an object.");
        var saga = new SagaState { Id = default, Definition = "", DefinitionVersion = 0, Input = Payload.Null };
        string? fingerprint = null;
        while (EnvelopeReader.Next(ref json))
        {
            if (json.ValueTextEquals("id"u8)) saga = saga with { Id = new SagaId(Text(ref json)) };
            else if (json.ValueTextEquals("d"u8)) saga = saga with { Definition = Text(ref json) };
            else if (json.ValueTextEquals("dv"u8)) saga = saga with { DefinitionVersion = EnvelopeReader.Number(ref json) };
            else if (json.ValueTextEquals("ih"u8)) fingerprint = Text(ref json);
            else if (json.ValueTextEquals("ij"u8)) saga = saga with { Inline = new InlineDefinition(fingerprint ?? throw new JsonException("An inline definition comes after its hash."), EnvelopeReader.Raw(ref json)) };
            else if (json.ValueTextEquals("v"u8)) saga = saga with { Version = Long(ref json) };
            else if (json.ValueTextEquals("s"u8)) saga = saga with { Course = (SagaStatus)Member(ref json, (int)SagaStatus.Terminated) };
            else if (json.ValueTextEquals("p"u8)) saga = saga with { Paused = Flag(ref json) };
            else if (json.ValueTextEquals("m"u8)) saga = saga with { Mixed = Flag(ref json) };
            else if (json.ValueTextEquals("in"u8)) saga = saga with { Input = EnvelopeReader.Raw(ref json) };
            else if (json.ValueTextEquals("out"u8)) saga = saga with { Result = EnvelopeReader.Raw(ref json) };
            else if (json.ValueTextEquals("e"u8)) saga = saga with { Error = ReadError(ref json) };
            else if (json.ValueTextEquals("at"u8)) saga = saga with { StartedAt = ReadTime(ref json) };
            else if (json.ValueTextEquals("up"u8)) saga = saga with { UpdatedAt = ReadTime(ref json) };
            else if (json.ValueTextEquals("co"u8)) saga = saga with { CommittedAt = ReadTime(ref json) };
            else if (json.ValueTextEquals("fi"u8)) saga = saga with { FinishedAt = ReadTime(ref json) };
            else if (json.ValueTextEquals("dl"u8)) saga = saga with { Deadline = ReadTime(ref json) };
            else if (json.ValueTextEquals("h"u8)) saga = saga with { HistoryCount = EnvelopeReader.Number(ref json) };
            else if (json.ValueTextEquals("pr"u8)) saga = saga with { Priority = EnvelopeReader.Number(ref json) };
            else if (json.ValueTextEquals("tp"u8)) saga = saga with { TraceParent = EnvelopeReader.Text(ref json) };
            else if (json.ValueTextEquals("t"u8)) saga = saga with { Tags = ReadTags(ref json) };
            else if (json.ValueTextEquals("st"u8)) saga = saga with { Steps = ReadSteps(ref json) };
            else EnvelopeReader.Skip(ref json);
        }
        if (saga.Id.Value is null || saga.Definition.Length == 0) throw new JsonException("A stored saga has its id and definition.");
        // Nothing may follow: the reader throws at whatever does.
        json.Read();
        return saga;
    }

    /// <summary>Writes one history entry, in the shape of the REST API.</summary>
    public static void Write(IBufferWriter<byte> to, HistoryEntry entry)
    {
        ArgumentNullException.ThrowIfNull(entry);
        var json = Writer(to);
        WriteHistory(json, entry);
        json.Flush();
    }

    /// <summary>Writes one history entry as <c>{seq, time, event, step, phase, attempt, outcome, detail, by, reason}</c>; what is absent is left out.</summary>
    public static void WriteHistory(Utf8JsonWriter json, HistoryEntry entry)
    {
        ArgumentNullException.ThrowIfNull(json);
        ArgumentNullException.ThrowIfNull(entry);
        json.WriteStartObject();
        json.WriteNumber("seq"u8, entry.Seq);
        json.WriteString("time"u8, entry.Time.UtcDateTime);
        json.WriteString("event"u8, entry.Event);
        if (entry.Step is not null) json.WriteString("step"u8, entry.Step);
        if (entry.Phase is { } phase) json.WriteString("phase"u8, phase.Word());
        if (entry.Attempt > 0) json.WriteNumber("attempt"u8, entry.Attempt);
        if (entry.Outcome is { } outcome) json.WriteString("outcome"u8, outcome.Word());
        if (entry.Detail is not null) json.WriteString("detail"u8, entry.Detail);
        if (entry.By is not null) json.WriteString("by"u8, entry.By);
        if (entry.Reason is not null) json.WriteString("reason"u8, entry.Reason);
        json.WriteEndObject();
    }

    /// <summary>Reads a history entry.</summary>
    public static HistoryEntry ReadHistory(ReadOnlySpan<byte> bytes)
    {
        var json = new Utf8JsonReader(bytes);
        if (!json.Read() || json.TokenType != JsonTokenType.StartObject) throw new JsonException("A stored history entry is an object.");
        var entry = new HistoryEntry { Seq = 0, Time = default, Event = "" };
        while (EnvelopeReader.Next(ref json))
        {
            if (json.ValueTextEquals("seq"u8)) entry = entry with { Seq = EnvelopeReader.Number(ref json) };
            else if (json.ValueTextEquals("time"u8)) entry = entry with { Time = EnvelopeReader.Time(ref json) ?? throw new JsonException("A time was expected.") };
            else if (json.ValueTextEquals("event"u8)) entry = entry with { Event = Text(ref json) };
            else if (json.ValueTextEquals("step"u8)) entry = entry with { Step = EnvelopeReader.Text(ref json) };
            else if (json.ValueTextEquals("phase"u8)) entry = entry with { Phase = Wire.PhaseOf(EnvelopeReader.Text(ref json)) };
            else if (json.ValueTextEquals("attempt"u8)) entry = entry with { Attempt = EnvelopeReader.Number(ref json) };
            else if (json.ValueTextEquals("outcome"u8)) entry = entry with { Outcome = Wire.OutcomeOf(EnvelopeReader.Text(ref json)) };
            else if (json.ValueTextEquals("detail"u8)) entry = entry with { Detail = EnvelopeReader.Text(ref json) };
            else if (json.ValueTextEquals("by"u8)) entry = entry with { By = EnvelopeReader.Text(ref json) };
            else if (json.ValueTextEquals("reason"u8)) entry = entry with { Reason = EnvelopeReader.Text(ref json) };
            else EnvelopeReader.Skip(ref json);
        }
        if (entry.Event.Length == 0) throw new JsonException("A stored history entry says what happened.");
        json.Read();
        return entry;
    }

    private static Utf8JsonWriter Writer(IBufferWriter<byte> to)
    {
        // One writer a thread: a commit writes some twenty small values and must not pay for a writer each.
        if (t_writer is null) return t_writer = new Utf8JsonWriter(to, Raw);
        t_writer.Reset(to);
        return t_writer;
    }

    private static void Step(Utf8JsonWriter json, StepState step)
    {
        json.WriteStartObject();
        if (step.Status != StepStatus.Pending) json.WriteNumber("s"u8, (int)step.Status);
        if (step.Attempt != 0) json.WriteNumber("n"u8, step.Attempt);
        if (step.Failures != 0) json.WriteNumber("f"u8, step.Failures);
        if (step.InFlight) json.WriteBoolean("o"u8, true);
        Time(json, "du"u8, step.Due);
        if (step.Unknown) json.WriteBoolean("u"u8, true);
        if (step.Stuck) json.WriteBoolean("x"u8, true);
        Value(json, "c"u8, step.Command);
        Value(json, "r"u8, step.Result);
        Error(json, step.Error);
        Time(json, "at"u8, step.StartedAt);
        Time(json, "fi"u8, step.FinishedAt);
        json.WriteEndObject();
    }

    private static ImmutableArray<StepState> ReadSteps(ref Utf8JsonReader json)
    {
        Expect(ref json, JsonTokenType.StartArray);
        var steps = ImmutableArray.CreateBuilder<StepState>();
        while (json.Read() && json.TokenType != JsonTokenType.EndArray)
        {
            if (json.TokenType != JsonTokenType.StartObject) throw new JsonException("A stored step is an object.");
            var step = StepState.Fresh;
            while (EnvelopeReader.Next(ref json))
            {
                if (json.ValueTextEquals("s"u8)) step = step with { Status = (StepStatus)Member(ref json, (int)StepStatus.Failed) };
                else if (json.ValueTextEquals("n"u8)) step = step with { Attempt = EnvelopeReader.Number(ref json) };
                else if (json.ValueTextEquals("f"u8)) step = step with { Failures = EnvelopeReader.Number(ref json) };
                else if (json.ValueTextEquals("o"u8)) step = step with { InFlight = Flag(ref json) };
                else if (json.ValueTextEquals("du"u8)) step = step with { Due = ReadTime(ref json) };
                else if (json.ValueTextEquals("u"u8)) step = step with { Unknown = Flag(ref json) };
                else if (json.ValueTextEquals("x"u8)) step = step with { Stuck = Flag(ref json) };
                else if (json.ValueTextEquals("c"u8)) step = step with { Command = EnvelopeReader.Raw(ref json) };
                else if (json.ValueTextEquals("r"u8)) step = step with { Result = EnvelopeReader.Raw(ref json) };
                else if (json.ValueTextEquals("e"u8)) step = step with { Error = ReadError(ref json) };
                else if (json.ValueTextEquals("at"u8)) step = step with { StartedAt = ReadTime(ref json) };
                else if (json.ValueTextEquals("fi"u8)) step = step with { FinishedAt = ReadTime(ref json) };
                else EnvelopeReader.Skip(ref json);
            }
            steps.Add(step);
        }
        return steps.DrainToImmutable();
    }

    private static void Value(Utf8JsonWriter json, ReadOnlySpan<byte> name, Payload? payload)
    {
        if (payload is null) return;
        json.WritePropertyName(name);
        json.WriteRawValue(payload.Utf8.Span, skipInputValidation: true);
    }

    private static void Error(Utf8JsonWriter json, SagaError? error)
    {
        if (error is null) return;
        json.WriteStartArray("e"u8);
        json.WriteStringValue(error.Step);
        json.WriteStringValue(error.Code);
        json.WriteStringValue(error.Message);
        json.WriteEndArray();
    }

    private static SagaError ReadError(ref Utf8JsonReader json)
    {
        Expect(ref json, JsonTokenType.StartArray);
        var error = new SagaError(EnvelopeReader.Text(ref json), Text(ref json), Text(ref json));
        Expect(ref json, JsonTokenType.EndArray);
        return error;
    }

    private static ImmutableSortedDictionary<string, string> ReadTags(ref Utf8JsonReader json)
    {
        Expect(ref json, JsonTokenType.StartObject);
        var tags = ImmutableSortedDictionary.CreateBuilder<string, string>(StringComparer.Ordinal);
        while (EnvelopeReader.Next(ref json))
        {
            var key = EnvelopeReader.Decoded(ref json)!;
            tags[key] = Text(ref json);
        }
        return tags.ToImmutable();
    }

    private static void Time(Utf8JsonWriter json, ReadOnlySpan<byte> name, DateTimeOffset? time)
    {
        if (time is { } at) json.WriteNumber(name, at.ToUnixTimeMilliseconds());
    }

    private static DateTimeOffset ReadTime(ref Utf8JsonReader json)
    {
        var ms = Long(ref json);
        return ms >= DateTimeOffset.MinValue.ToUnixTimeMilliseconds() && ms <= DateTimeOffset.MaxValue.ToUnixTimeMilliseconds()
            ? DateTimeOffset.FromUnixTimeMilliseconds(ms)
            : throw new JsonException("A time was expected.");
    }

    private static string Text(ref Utf8JsonReader json) => EnvelopeReader.Text(ref json) ?? throw new JsonException("A text was expected.");

    private static long Long(ref Utf8JsonReader json)
    {
        json.Read();
        return json.TokenType == JsonTokenType.Number && json.TryGetInt64(out var number) ? number : throw new JsonException("A whole number was expected.");
    }

    private static int Member(ref Utf8JsonReader json, int last)
    {
        var number = EnvelopeReader.Number(ref json);
        return number >= 0 && number <= last ? number : throw new JsonException($"A status from 0 to {last} was expected.");
    }

    private static bool Flag(ref Utf8JsonReader json)
    {
        json.Read();
        return json.TokenType is JsonTokenType.True or JsonTokenType.False ? json.GetBoolean() : throw new JsonException("A yes or no was expected.");
    }

    private static void Expect(ref Utf8JsonReader json, JsonTokenType token)
    {
        json.Read();
        if (json.TokenType != token) throw new JsonException($"{token} was expected.");
    }
}

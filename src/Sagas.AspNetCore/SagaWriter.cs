using System.Globalization;
using System.Text.Json;
using Sagas.Runtime;

namespace Sagas.AspNetCore;

/// <summary>A saga as the API shows it: whole, or as a line of a listing. Documented fields are always there, null when there is nothing to say.</summary>
internal static class SagaWriter
{
    /// <summary>The whole saga.</summary>
    /// <param name="json">Where to.</param>
    /// <param name="saga">The saga.</param>
    /// <param name="definition">Its definition; null when that is no longer loaded: steps then go by their place.</param>
    public static void Write(Utf8JsonWriter json, SagaState saga, SagaDefinition? definition)
    {
        json.WriteStartObject();
        WriteHead(json, saga);
        Payload(json, "input"u8, saga.Input);
        Payload(json, "result"u8, saga.Result);
        Error(json, "error"u8, saga.Error);
        json.WriteString("waitingFor"u8, WaitingFor(saga, definition));
        Time(json, "deadline"u8, saga.Ended ? null : saga.Deadline);
        json.WriteStartArray("actions"u8);
        foreach (var action in Actions(saga, definition)) json.WriteStringValue(action);
        json.WriteEndArray();
        json.WriteStartArray("steps"u8);
        for (var i = 0; i < saga.Steps.Length; i++) WriteStep(json, saga, i, definition);
        json.WriteEndArray();
        json.WriteEndObject();
    }

    /// <summary>What an operator may ask of the saga as it stands: what the Decider would not refuse. Told without asking it, since asking runs the definition's mappings.</summary>
    public static IEnumerable<string> Actions(SagaState saga, SagaDefinition? definition)
    {
        if (saga.Ended || definition is null) yield break;
        var pivotIsOut = definition.Pivot is { } pivot && pivot < saga.Steps.Length && saga.Steps[pivot] is { Phase: not null, Attempt: > 0 };
        if (saga.Course == SagaStatus.Compensating || (saga.Course == SagaStatus.Running && !pivotIsOut)) yield return "cancel";
        if (!saga.Paused && saga.Steps.Any(static step => step is { InFlight: false, Due: not null })) yield return "retry";
        yield return saga.Paused ? "resume" : "pause";
        yield return "terminate";
        if (saga.Steps.Any(static step => step.Phase is not null && (step.Stuck || step.Failures > 0))) yield return "resolve";
    }

    /// <summary>A line of a listing: no payloads, the step it is at, and every step's two phases as lanes.</summary>
    public static void WriteSummary(Utf8JsonWriter json, SagaState saga, SagaDefinition? definition)
    {
        var current = Current(saga);
        var step = current is { } at ? saga.Steps[at] : null;
        json.WriteStartObject();
        WriteHead(json, saga);
        json.WriteBoolean("committed"u8, saga.CommittedAt is not null);
        Error(json, "error"u8, saga.Error);
        json.WriteString("waitingFor"u8, WaitingFor(saga, definition));
        json.WriteString("step"u8, current is { } index ? NameOf(index, definition) : null);
        json.WriteString("phase"u8, step?.Phase?.Word());
        Error(json, "stepError"u8, step?.Error);
        if (step is null) json.WriteNull("attempts"u8);
        else json.WriteNumber("attempts"u8, step.Attempt);
        Time(json, "nextAttemptAt"u8, step is null ? null : NextAttemptAt(saga, step));
        json.WriteStartArray("steps"u8);
        for (var i = 0; i < saga.Steps.Length; i++)
        {
            var (first, second) = Lanes(saga.Steps[i]);
            json.WriteStartObject();
            json.WriteString("name"u8, NameOf(i, definition));
            json.WriteString("status"u8, saga.Steps[i].Status.Word());
            json.WriteString("first"u8, first);
            json.WriteString("second"u8, second);
            json.WriteEndObject();
        }
        json.WriteEndArray();
        json.WriteEndObject();
    }

    /// <summary>A step that waits.</summary>
    public static void WriteWaiting(Utf8JsonWriter json, WaitingStep waiting, SagaDefinition? definition)
    {
        var (saga, index, kind, since) = waiting;
        var step = saga.Steps[index];
        json.WriteStartObject();
        json.WriteString("saga"u8, saga.Id.Value);
        json.WriteString("definition"u8, saga.Definition);
        json.WriteNumber("version"u8, saga.DefinitionVersion);
        json.WriteString("status"u8, saga.Status.Word());
        json.WriteBoolean("paused"u8, saga.Paused);
        json.WriteString("step"u8, NameOf(index, definition));
        json.WriteString("phase"u8, step.Phase?.Word());
        json.WriteString("kind"u8, kind.Word());
        json.WriteString("waitingFor"u8, WaitingFor(saga, step, index, definition));
        Time(json, "since"u8, since);
        // When the next attempt is sent, the one under way times out, or the time is over.
        Time(json, "dueAt"u8, saga.Paused ? null : step.Due);
        json.WriteNumber("attempts"u8, step.Attempt);
        json.WriteNumber("failures"u8, step.Failures);
        json.WriteBoolean("stuck"u8, step.Stuck);
        Error(json, "error"u8, step.Error);
        json.WriteEndObject();
    }

    /// <summary>A line of a saga's history, every field there.</summary>
    public static void WriteHistory(Utf8JsonWriter json, HistoryEntry entry)
    {
        json.WriteStartObject();
        json.WriteNumber("seq"u8, entry.Seq);
        Time(json, "time"u8, entry.Time);
        json.WriteString("event"u8, entry.Event);
        json.WriteString("step"u8, entry.Step);
        json.WriteString("phase"u8, entry.Phase?.Word());
        if (entry.Attempt > 0) json.WriteNumber("attempt"u8, entry.Attempt);
        else json.WriteNull("attempt"u8);
        json.WriteString("outcome"u8, entry.Outcome?.Word());
        json.WriteString("detail"u8, entry.Detail);
        json.WriteString("by"u8, entry.By);
        json.WriteString("reason"u8, entry.Reason);
        json.WriteEndObject();
    }

    /// <summary>
    /// A step's two phases for drawing. First (try, do, check): <c>run</c> under way, <c>held</c> reserved and open, <c>ok</c> done, <c>no</c> refused,
    /// failed or never heard of. Second (confirm, cancel, compensate): <c>run</c> under way, <c>ok</c> kept, <c>no</c> given back or undone.
    /// </summary>
    public static (string First, string Second) Lanes(StepState step)
    {
        var known = step.Result is not null;
        return step.Status switch
        {
            StepStatus.Trying or StepStatus.Doing or StepStatus.Waiting => ("run", "none"),
            StepStatus.Tried => ("held", "none"),
            StepStatus.Done => ("ok", "none"),
            StepStatus.Confirming => ("held", "run"),
            StepStatus.Confirmed => ("ok", "ok"),
            StepStatus.Cancelling => (known ? "held" : "no", "run"),
            StepStatus.Compensating => (known ? "ok" : "no", "run"),
            StepStatus.Cancelled or StepStatus.Compensated => (known ? "ok" : "no", "no"),
            StepStatus.Refused or StepStatus.Failed => ("no", "none"),
            _ => ("none", "none"),
        };
    }

    /// <summary>What the saga waits for, as a short sentence for people; null: nothing, or it has ended.</summary>
    public static string? WaitingFor(SagaState saga, SagaDefinition? definition)
    {
        if (saga.Ended) return null;
        var others = saga.Steps.Count(IsActive) - 1;
        var sentence = Current(saga) is { } index ? WaitingFor(saga, saga.Steps[index], index, definition) : null;
        if (sentence is not null && others > 0) sentence += others == 1 ? ", and for 1 other step" : $", and for {others} other steps";
        if (saga.Paused) return sentence is null ? "an operator to resume it" : $"an operator to resume it ({sentence})";
        return sentence;
    }

    /// <summary>The step that the saga is at: a stuck one first, then one that fails, then the first under way.</summary>
    public static int? Current(SagaState saga)
    {
        if (saga.Ended) return null;
        int? best = null;
        for (var i = 0; i < saga.Steps.Length; i++)
            if (IsActive(saga.Steps[i]) && (best is null || Urgency(saga.Steps[i]) > Urgency(saga.Steps[best.Value]))) best = i;
        return best;
    }

    /// <summary>The trace that a saga was started under.</summary>
    public static string? TraceId(SagaState saga) => saga.TraceParent is { Length: >= 55 } parent ? parent[3..35] : null;

    /// <summary>RFC 3339 in UTC to the millisecond: what the store keeps, so that a saga reads the same before and after a restart.</summary>
    public static string Rfc3339(DateTimeOffset time) => time.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture);

    public static void Time(Utf8JsonWriter json, ReadOnlySpan<byte> name, DateTimeOffset? time)
    {
        if (time is not { } at)
        {
            json.WriteNull(name);
            return;
        }
        Span<byte> text = stackalloc byte[32];
        at.UtcDateTime.TryFormat(text, out var length, "yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture);
        json.WriteString(name, text[..length]);
    }

    private static void WriteHead(Utf8JsonWriter json, SagaState saga)
    {
        json.WriteString("id"u8, saga.Id.Value);
        json.WriteString("definition"u8, saga.Definition);
        json.WriteNumber("version"u8, saga.DefinitionVersion);
        json.WriteString("status"u8, saga.Status.Word());
        json.WriteBoolean("paused"u8, saga.Paused);
        json.WriteBoolean("mixed"u8, saga.Mixed);
        json.WriteNumber("priority"u8, saga.Priority);
        Time(json, "startedAt"u8, saga.StartedAt);
        Time(json, "updatedAt"u8, saga.UpdatedAt);
        Time(json, "committedAt"u8, saga.CommittedAt);
        Time(json, "finishedAt"u8, saga.FinishedAt);
        json.WriteString("traceId"u8, TraceId(saga));
        json.WriteStartObject("tags"u8);
        foreach (var (key, value) in saga.Tags) json.WriteString(key, value);
        json.WriteEndObject();
    }

    private static void WriteStep(Utf8JsonWriter json, SagaState saga, int index, SagaDefinition? definition)
    {
        var step = saga.Steps[index];
        var drawn = StepOf(index, definition);
        json.WriteStartObject();
        json.WriteString("name"u8, NameOf(index, definition));
        json.WriteString("kind"u8, drawn?.Kind.Word());
        json.WriteString("status"u8, step.Status.Word());
        json.WriteBoolean("stuck"u8, step.Stuck && !saga.Ended);
        json.WriteString("phase"u8, step.Phase?.Word());
        var (first, second) = Lanes(step);
        json.WriteString("first"u8, first);
        json.WriteString("second"u8, second);
        json.WriteNumber("attempts"u8, step.Attempt);
        json.WriteNumber("failures"u8, step.Failures);
        Time(json, "nextAttemptAt"u8, NextAttemptAt(saga, step));
        Time(json, "timesOutAt"u8, step.InFlight && !saga.Ended ? step.Due : null);
        Time(json, "startedAt"u8, step.StartedAt);
        Time(json, "finishedAt"u8, step.FinishedAt);
        Payload(json, "command"u8, step.Command);
        Payload(json, "result"u8, step.Result);
        Error(json, "error"u8, step.Error);
        json.WriteStartArray("after"u8);
        foreach (var before in drawn?.After ?? []) json.WriteStringValue(NameOf(before, definition));
        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static string? WaitingFor(SagaState saga, StepState step, int index, SagaDefinition? definition)
    {
        var name = NameOf(index, definition);
        if (step.Phase is not { } phase)
            return step.Due is { } until ? $"{Rfc3339(until)}, when step '{name}' goes on" : $"step '{name}'";
        if (step.InFlight)
            return $"reply of {Receiver(StepOf(index, definition)?.EndpointOf(phase))} to {phase.Word()} of '{name}', attempt {step.Attempt}";
        if (saga.Paused || step.Due is not { } due) return $"next attempt of {phase.Word()} of '{name}'";
        return $"next attempt of {phase.Word()} of '{name}' at {Rfc3339(due)}";
    }

    private static string Receiver(Endpoint? endpoint) => endpoint switch
    {
        BusEndpoint bus => bus.Participant,
        HttpEndpoint http => http.Url.Authority,
        _ => "the participant",
    };

    private static bool IsActive(StepState step) => step.Phase is not null || step.Status == StepStatus.Waiting || step.Stuck;

    private static int Urgency(StepState step) => step.Stuck ? 2 : step.Failures > 0 ? 1 : 0;

    private static DateTimeOffset? NextAttemptAt(SagaState saga, StepState step) =>
        saga.Ended || saga.Paused || step.InFlight || step.Phase is null ? null : step.Due;

    private static StepDefinition? StepOf(int index, SagaDefinition? definition) =>
        definition is not null && index < definition.Steps.Length ? definition.Steps[index] : null;

    private static string NameOf(int index, SagaDefinition? definition) => StepOf(index, definition)?.Name ?? $"#{index + 1}";

    private static void Payload(Utf8JsonWriter json, ReadOnlySpan<byte> name, Payload? payload)
    {
        json.WritePropertyName(name);
        if (payload is null) json.WriteNullValue();
        else json.WriteRawValue(payload.Utf8.Span, skipInputValidation: true);
    }

    private static void Error(Utf8JsonWriter json, ReadOnlySpan<byte> name, SagaError? error)
    {
        if (error is null)
        {
            json.WriteNull(name);
            return;
        }
        json.WriteStartObject(name);
        json.WriteString("step"u8, error.Step);
        json.WriteString("code"u8, error.Code);
        json.WriteString("message"u8, error.Message);
        json.WriteEndObject();
    }
}

using System.Collections.Immutable;
using System.Text.Json;

namespace Sagas;

/// <summary>One decision in the making: a private copy of the state that the Decider's rows change, with the effects and history that follow.</summary>
internal sealed class Turn(SagaDefinition saga, SagaState state, DateTimeOffset now)
{
    private readonly StepState[] _steps = [.. state.Steps];
    private List<Effect>? _effects;
    private List<HistoryEntry>? _history;
    private readonly SagaState _was = state;
    private SagaState _state = state;
    private bool _changed;

    public SagaDefinition Saga => saga;
    public DateTimeOffset Now => now;
    public SagaId Id => _state.Id;
    public SagaStatus Course => _state.Course;

    public bool Paused
    {
        get => _state.Paused;
        set
        {
            if (_state.Paused != value) _state = _state with { Paused = value };
        }
    }

    /// <summary>The pivot's outcome is open: until it is known the saga may neither turn back nor go past it.</summary>
    public bool PivotIsOut => saga.Pivot is { } pivot && _steps[pivot].Phase is not null && _steps[pivot].Attempt > 0;

    public StepState this[StepDefinition step]
    {
        get => _steps[step.Index];
        set
        {
            _steps[step.Index] = value;
            _changed = true;
        }
    }

    public void Record(string what, StepDefinition? step = null, Phase? phase = null, int attempt = 0, Outcome? outcome = null, string? detail = null,
        string? by = null, string? reason = null)
    {
        _changed = true;
        (_history ??= []).Add(new HistoryEntry
        {
            Seq = _state.HistoryCount + _history.Count + 1, Time = now, Event = what, Step = step?.Name, Phase = phase, Attempt = attempt,
            Outcome = outcome, Detail = detail, By = by, Reason = reason,
        });
    }

    public void DropDeadline()
    {
        if (_state.Deadline is null) return;
        _state = _state with { Deadline = null };
        _changed = true;
    }

    /// <summary>The phase under way took effect.</summary>
    public void Succeed(StepDefinition step, Payload? result)
    {
        var was = this[step];
        var phase = was.Phase!.Value;
        this[step] = was with
        {
            Status = phase switch
            {
                Phase.Try => StepStatus.Tried,
                Phase.Confirm => StepStatus.Confirmed,
                Phase.Cancel => StepStatus.Cancelled,
                Phase.Compensate => StepStatus.Compensated,
                _ => StepStatus.Done,
            },
            Result = phase == step.ForwardPhase ? result ?? Payload.Null : was.Result,
            // A step that was undone keeps the error for which it was.
            Error = phase == step.UndoPhase ? was.Error : null,
            InFlight = false, Due = null, Stuck = false, Failures = 0, FinishedAt = now,
        };
        if (step.Pivot) Commit();
        Advance();
    }

    /// <summary>The attempt in flight failed or went unheard.</summary>
    public void Fail(StepDefinition step, string code, string message)
    {
        var was = this[step];
        var phase = was.Phase!.Value;
        var forward = phase == step.ForwardPhase;
        var failed = was with
        {
            InFlight = false, Due = null, Failures = was.Failures + 1, Unknown = was.Unknown || forward,
            Error = new SagaError(step.Name, code, message),
        };
        var bounded = forward && !step.Pivot && Course == SagaStatus.Running && !PivotIsOut;
        if (bounded && (failed.Failures >= step.Retry.Attempts || step.NoRetryOn.Contains(code)))
        {
            this[step] = step.Undoable ? failed : failed with { Status = StepStatus.Failed, FinishedAt = now };
            Back(failed.Error);
            return;
        }
        var stuck = !bounded && failed.Failures >= saga.StuckAfter;
        this[step] = failed with { Due = now + step.Retry.Delay(failed.Failures, Seed(step, was.Attempt)), Stuck = stuck };
        if (stuck && !was.Stuck) Record("stuck", step, phase, was.Attempt, detail: message);
    }

    /// <summary>Turns the saga back: from here on only undoing.</summary>
    public void Back(SagaError why)
    {
        Record("turned-back", why.Step is null ? null : saga.Find(why.Step), detail: $"{why.Code}: {why.Message}");
        _state = _state with { Course = SagaStatus.Compensating, Error = why, Deadline = null, Result = null };
        foreach (var step in saga.Steps)
        {
            if (this[step] is not { Phase: not null } open) continue;
            var quiet = open with { InFlight = false, Due = null, Stuck = false };
            this[step] = step.Undoable ? quiet : quiet with { Status = step.ReadOnly ? StepStatus.Skipped : StepStatus.Failed, FinishedAt = now };
        }
        Advance();
    }

    public void Terminate(SagaError why, bool mixed) => Finish(SagaStatus.Terminated, why, mixed);

    /// <summary>Begins whatever may begin now: forward steps, confirms, undoing, the end.</summary>
    public void Advance()
    {
        if (Paused) return;
        if (Course == SagaStatus.Running) Forth();
        if (Course == SagaStatus.Confirming) Settle();
        if (Course == SagaStatus.Compensating) Undo();
    }

    /// <summary>Asks a participant: the phase under way, one more attempt.</summary>
    public void Send(StepDefinition step)
    {
        var was = this[step];
        var phase = was.Phase!.Value;
        if (!TryMap(step, phase, out var payload, out var command)) return;
        var deadline = now + step.Timeout;
        this[step] = was with { Attempt = was.Attempt + 1, InFlight = true, Due = deadline, Command = command, StartedAt = was.StartedAt ?? now };
        (_effects ??= []).Add(new Effect.Send(step.Name, step.EndpointOf(phase)!, phase, was.Attempt + 1, payload, deadline));
        Record("sent", step, phase, was.Attempt + 1);
    }

    public Decision Refuse(string why) => new(_was, [], [], why);

    public Decision End() => !_changed
        ? new Decision(_was, [], [])
        : new Decision(_state with
        {
            Steps = System.Runtime.InteropServices.ImmutableCollectionsMarshal.AsImmutableArray(_steps),
            UpdatedAt = now,
            HistoryCount = _state.HistoryCount + (_history?.Count ?? 0),
        }, _effects?.ToImmutableArray() ?? [], _history?.ToImmutableArray() ?? []);

    private void Forth()
    {
        foreach (var step in saga.Steps)
        {
            if (Course != SagaStatus.Running) return;
            if (Forward.IsReady(step, _steps)) Begin(step, step.Kind == StepKind.Tcc ? StepStatus.Trying : StepStatus.Doing);
        }
        if (Course != SagaStatus.Running || !Forward.AllSucceeded(_steps)) return;
        // Without a pivot the result is made before the commit point: a mapping that throws can still turn the saga back.
        if (!TryResult(out var result, out var fault))
        {
            Back(fault!);
            return;
        }
        _state = _state with { Result = result };
        Commit();
    }

    private void Settle()
    {
        foreach (var step in saga.Steps)
        {
            if (this[step].Status == StepStatus.Tried)
            {
                if (step.Confirm is null) this[step] = this[step] with { Status = StepStatus.Confirmed, FinishedAt = now };
                else Begin(step, StepStatus.Confirming);
            }
            else if (Forward.IsReady(step, _steps)) Begin(step, StepStatus.Doing);
        }
        if (!Forward.AllSettled(_steps)) return;
        SagaError? fault = null;
        if (_state.Result is null && TryResult(out var result, out fault)) _state = _state with { Result = result };
        Finish(SagaStatus.Completed, fault, mixed: false);
    }

    private void Undo()
    {
        // Undoing a step that has nothing to call settles it at once, which may free the next: backwards, so one pass is enough.
        for (var i = saga.Steps.Length - 1; i >= 0; i--)
        {
            var step = saga.Steps[i];
            if (!Backward.IsReady(saga, step, _steps)) continue;
            var tcc = step.Kind == StepKind.Tcc;
            if (step.Undo is null) this[step] = this[step] with { Status = tcc ? StepStatus.Cancelled : StepStatus.Compensated, FinishedAt = now };
            else Begin(step, tcc ? StepStatus.Cancelling : StepStatus.Compensating);
        }
        if (Backward.AllUndone(saga, _steps)) Finish(SagaStatus.Compensated, _state.Error, mixed: false);
    }

    private void Begin(StepDefinition step, StepStatus status)
    {
        this[step] = this[step] with { Status = status, Attempt = 0, Failures = 0, InFlight = false, Due = null, Stuck = false, FinishedAt = null };
        Send(step);
    }

    private void Commit()
    {
        _state = _state with { Course = SagaStatus.Confirming, CommittedAt = now, Deadline = null };
        Record("committed");
    }

    private void Finish(SagaStatus how, SagaError? error, bool mixed)
    {
        Record(how switch { SagaStatus.Completed => "completed", SagaStatus.Compensated => "compensated", _ => "terminated" });
        for (var i = 0; i < _steps.Length; i++)
            if (_steps[i].Due is not null || _steps[i].InFlight || _steps[i].Stuck)
                _steps[i] = _steps[i] with { Due = null, InFlight = false, Stuck = false };
        _state = _state with { Course = how, Error = error, Mixed = mixed, Paused = false, FinishedAt = now, Deadline = null };
    }

    private bool TryMap(StepDefinition step, Phase phase, out Payload payload, out Payload? command)
    {
        var was = this[step];
        command = was.Command;
        try
        {
            var data = new SagaData(_state with { Steps = System.Runtime.InteropServices.ImmutableCollectionsMarshal.AsImmutableArray(_steps) });
            payload = phase switch
            {
                // The command is mapped once: every attempt under one key says the same.
                _ when phase == step.ForwardPhase => command ??= step.Map(data),
                Phase.Compensate when step.Compensation is { } made => made.NeedsResult && was.Result is null ? Payload.Null : made.Map(data, was.Result),
                _ => CommandAndResult(command, was.Result),
            };
            if (payload.Utf8.Length <= MaxEnvelope(phase, step)) return true;
            throw new JsonException($"The command has {payload.Utf8.Length} bytes; at most {Decider.MaxPayload} are sent.");
        }
        // Mappings are the user's code and may throw anything; what they throw is an answer, not a fault of the engine.
        catch (Exception e)
        {
            payload = Payload.Null;
            MappingFailed(step, phase, new SagaError(step.Name, "mapping-failed", $"{e.GetType().Name}: {e.Message}"));
            return false;
        }
    }

    private static int MaxEnvelope(Phase phase, StepDefinition step) =>
        phase == step.ForwardPhase || step.Compensation is not null ? Decider.MaxPayload : 2 * Decider.MaxPayload + 64;

    private void MappingFailed(StepDefinition step, Phase phase, SagaError error)
    {
        Record("mapping-failed", step, phase, detail: error.Message);
        var was = this[step];
        if (phase == step.ForwardPhase && Course == SagaStatus.Running && (step.Pivot || !PivotIsOut))
        {
            this[step] = was with { Status = StepStatus.Refused, Error = error, FinishedAt = now, Due = null, InFlight = false };
            Back(error);
        }
        // Nothing can be sent and nothing may be given up: an operator must look. Asked again all the same, since a new release may mend it.
        else this[step] = was with { Error = error, Failures = was.Failures + 1, Stuck = true, InFlight = false, Due = now + step.Retry.Max };
    }

    private bool TryResult(out Payload? result, out SagaError? fault)
    {
        (result, fault) = (Payload.Null, null);
        if (saga.Result is null) return true;
        try
        {
            result = saga.Result(new SagaData(_state with { Steps = [.. _steps] }));
            return true;
        }
        catch (Exception e)
        {
            fault = new SagaError(null, "mapping-failed", $"The saga's result cannot be made: {e.GetType().Name}: {e.Message}");
            return false;
        }
    }

    private static Payload CommandAndResult(Payload? command, Payload? result)
    {
        var head = "{\"command\":"u8;
        var mid = ",\"result\":"u8;
        var c = (command ?? Payload.Null).Utf8.Span;
        var r = (result ?? Payload.Null).Utf8.Span;
        var bytes = new byte[head.Length + c.Length + mid.Length + r.Length + 1];
        head.CopyTo(bytes);
        c.CopyTo(bytes.AsSpan(head.Length));
        mid.CopyTo(bytes.AsSpan(head.Length + c.Length));
        r.CopyTo(bytes.AsSpan(head.Length + c.Length + mid.Length));
        bytes[^1] = (byte)'}';
        return new Payload(bytes);
    }

    /// <summary>Jitter must not be random here: the same saga, step and attempt wait equally long in every replay (FNV-1a).</summary>
    private uint Seed(StepDefinition step, int attempt)
    {
        var hash = 2166136261u;
        foreach (var c in Id.Value) hash = (hash ^ c) * 16777619u;
        return (hash ^ (uint)(step.Index * 31 + attempt)) * 16777619u >> 7;
    }
}

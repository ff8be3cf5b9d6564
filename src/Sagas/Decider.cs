using System.Collections.Immutable;

namespace Sagas;

// What happens to a saga, and what follows. Status and phase words as in SagaState; "undo" is Cancel or Compensate;
// "forward" is Try or Do. Whatever is not listed changes nothing: late, repeated and unknown events are ordinary.
//
//   event             when                                    then
//   ----------------  --------------------------------------  ------------------------------------------------------------
//   started           -                                       try or do every step that comes after nothing
//   forward ok        step is Trying, Doing                   Tried or Done; the pivot: commit point; start what is ready
//   forward refused   Running, pivot not out                  Refused (undone if another attempt is unheard); turn back
//                     it is the pivot                         Refused; turn back
//                     pivot out, or past the commit point     as an error
//   forward error,    attempts left                           asked again after the delay
//     timed out       none left, pivot not out                undone, or Failed when nothing is to be undone; turn back
//                     the pivot, or pivot out, or Confirming  asked again for ever; Stuck after a while
//   forward ok, late  step is Cancelling, Compensating        its result is kept; a compensation that needs it is sent
//   any accepted      attempt in flight                       stays in flight, with another time at which it times out
//   any busy          step waits for it                       asked again after Retry-After; not counted
//   all succeeded     Running                                 commit point: confirm every reservation
//   confirm ok        step is Confirming                      Confirmed; all settled: Completed
//   undo ok           step is Cancelling, Compensating        Cancelled, Compensated; undo what it came after; Compensated
//   confirm, undo     error, refused, timed out               asked again for ever; Stuck after a while
//   retry due         attempt not in flight                   asked again
//   saga timed out    Running, pivot not out                  turn back
//   cancel requested  Running, pivot not out                  turn back; lifts a pause
//                     Compensating                            lifts a pause
//                     else                                    refused with advice
//   retry requested   some step waits to be asked again       asked at once
//   pause, resume     not paused, paused                      nothing new is sent; go on
//   terminate         not ended                               Terminated
//   step resolved     step is failing: done                   as ok
//                       not done: confirm, undo, past pivot   Terminated, mixed
//                       not done: forward                     Refused; turn back
//   recovered         attempts are in flight                  asked again, not counted: the node that asked is gone
//
// Turn back: no new step starts; every forward step that may have been sent is undone, in reverse order of dependency.

/// <summary>A decision: the new state, what must be done once it is durable, and what history says.</summary>
/// <param name="State">The new state; the same object when nothing changed.</param>
/// <param name="Effects">To be dispatched only after <paramref name="State"/> is durable.</param>
/// <param name="History">New entries.</param>
/// <param name="Refused">For an operator's request in the wrong state: why, and what to do. Nothing changed.</param>
public sealed record Decision(SagaState State, ImmutableArray<Effect> Effects, ImmutableArray<HistoryEntry> History, string? Refused = null)
{
    /// <summary>
    /// Whether it must be made durable at once. What a participant said and what causes no command can be asked again, and may wait for the saga's next
    /// commit; everything else must not be lost.
    /// </summary>
    public bool IsUrgent(SagaState before, SagaEvent? happened)
    {
        ArgumentNullException.ThrowIfNull(before);
        return !ReferenceEquals(State, before)
            && (happened is not SagaEvent.Replied || !Effects.IsEmpty || State.Course != before.Course || State.Status != before.Status);
    }
}

/// <summary>Every branch of the engine's behaviour. Pure: the same arguments give the same decision.</summary>
public static class Decider
{
    /// <summary>The largest command or result, in bytes: 256 KiB.</summary>
    public const int MaxPayload = 256 * 1024;

    /// <summary>The first decision of a saga.</summary>
    /// <param name="saga">Its definition.</param>
    /// <param name="fresh">Its id, input, tags and the like; no steps yet.</param>
    /// <param name="now">When it starts.</param>
    public static Decision Start(SagaDefinition saga, SagaState fresh, DateTimeOffset now)
    {
        ArgumentNullException.ThrowIfNull(saga);
        ArgumentNullException.ThrowIfNull(fresh);
        var turn = new Turn(saga, fresh with
        {
            Definition = saga.Name,
            DefinitionVersion = saga.Version,
            Steps = [.. Enumerable.Repeat(StepState.Fresh, saga.Steps.Length)],
            StartedAt = now,
            Deadline = now + saga.Timeout,
        }, now);
        turn.Record("started");
        turn.Advance();
        return turn.End();
    }

    /// <summary>What follows from <paramref name="happened"/>.</summary>
    /// <param name="saga">The saga's definition, of the version it started with.</param>
    /// <param name="state">The saga.</param>
    /// <param name="happened">What happened.</param>
    /// <param name="now">When.</param>
    public static Decision Decide(SagaDefinition saga, SagaState state, SagaEvent happened, DateTimeOffset now)
    {
        ArgumentNullException.ThrowIfNull(saga);
        ArgumentNullException.ThrowIfNull(state);
        var turn = new Turn(saga, state, now);
        if (state.Ended)
            return happened is SagaEvent.CancelRequested or SagaEvent.RetryRequested or SagaEvent.PauseRequested or SagaEvent.ResumeRequested
                or SagaEvent.TerminateRequested or SagaEvent.StepResolved
                ? turn.Refuse($"Saga '{state.Id}' has ended as {state.Course}; an ended saga never changes. Start a new one.")
                : turn.End();
        switch (happened)
        {
            case SagaEvent.Replied reply: Replied(turn, reply); break;
            case SagaEvent.Accepted accepted: Accepted(turn, accepted); break;
            case SagaEvent.AttemptTimedOut late: TimedOut(turn, late); break;
            case SagaEvent.RetryDue due: RetryDue(turn, due); break;
            case SagaEvent.SagaTimedOut: SagaTimedOut(turn); break;
            case SagaEvent.Recovered: Recovered(turn); break;
            case SagaEvent.CancelRequested cancel: return Cancel(turn, cancel);
            case SagaEvent.RetryRequested retry: return Retry(turn, retry);
            case SagaEvent.PauseRequested pause: return Pause(turn, pause);
            case SagaEvent.ResumeRequested resume: return Resume(turn, resume);
            case SagaEvent.TerminateRequested terminate: return Terminate(turn, terminate);
            case SagaEvent.StepResolved resolved: return Resolve(turn, resolved);
        }
        return turn.End();
    }

    private static void Replied(Turn turn, SagaEvent.Replied reply)
    {
        if (turn.Saga.Find(reply.Step) is not { } step) return;
        if (reply is { Outcome: Outcome.Ok, Result.Utf8.Length: > MaxPayload })
            reply = reply with { Outcome = Outcome.Error, Result = null, Code = "result-too-large", Message = $"The result has {reply.Result.Utf8.Length} bytes; at most {MaxPayload} are taken." };
        var now = turn[step];
        if (now.Phase == reply.Phase) Answered(turn, step, now, reply);
        else if (reply.Phase == step.ForwardPhase && now.Phase == step.UndoPhase && reply.Outcome == Outcome.Ok && now.Result is null)
            LateResult(turn, step, now, reply);
    }

    private static void Answered(Turn turn, StepDefinition step, StepState now, SagaEvent.Replied reply)
    {
        // Success and refusal are final whichever attempt brings them; an error or a busy says something of the attempt in flight only.
        var current = now.InFlight && reply.Attempt == now.Attempt;
        if (reply.Outcome is Outcome.Error or Outcome.Busy && !current) return;
        turn.Record("replied", step, reply.Phase, reply.Attempt, reply.Outcome, reply.Message);
        switch (reply.Outcome)
        {
            case Outcome.Ok:
                turn.Succeed(step, reply.Result);
                break;
            case Outcome.Refused when reply.Phase == step.ForwardPhase && turn.Course == SagaStatus.Running && (step.Pivot || !turn.PivotIsOut):
                // Another attempt that is still out, or went unheard, or the same one when it came before, may have taken effect all the same.
                var unheard = !step.Pivot && (now.Unknown || reply.InDoubt || (now.InFlight && !current));
                var error = new SagaError(step.Name, reply.Code ?? "refused", reply.Message ?? $"'{step.Name}' was refused.");
                turn[step] = now with
                {
                    Status = unheard && step.Undoable ? now.Status : StepStatus.Refused,
                    Error = error, InFlight = false, Due = null, Stuck = false, FinishedAt = turn.Now,
                };
                turn.Back(error);
                break;
            case Outcome.Refused or Outcome.Error:
                if (!current) return;
                turn.Fail(step, reply.Code ?? reply.Outcome.Word(), reply.Message ?? "The participant gave no reason.");
                break;
            case Outcome.Busy:
                turn[step] = now with { InFlight = false, Due = turn.Now + (reply.RetryAfter ?? step.Retry.First), Unknown = now.Unknown || reply.InDoubt };
                break;
        }
    }

    private static void LateResult(Turn turn, StepDefinition step, StepState now, SagaEvent.Replied reply)
    {
        turn.Record("replied", step, reply.Phase, reply.Attempt, reply.Outcome, "late");
        turn[step] = now with { Result = reply.Result ?? Payload.Null };
        // The participant answered our question "what did you do?": now the compensation can be made and sent.
        if (step.Compensation is { NeedsResult: true } && !turn.Paused) turn.Send(step);
    }

    private static void Accepted(Turn turn, SagaEvent.Accepted accepted)
    {
        // The callback may have overtaken the 202: then nothing is in flight any more.
        if (turn.Saga.Find(accepted.Step) is not { } step || turn[step] is not { InFlight: true } now || now.Phase != accepted.Phase || now.Attempt != accepted.Attempt) return;
        turn.Record("accepted", step, accepted.Phase, accepted.Attempt, detail: $"The outcome comes within {accepted.Within.TotalSeconds:0.###} s.");
        turn[step] = now with { Due = turn.Now + accepted.Within };
    }

    private static void TimedOut(Turn turn, SagaEvent.AttemptTimedOut late)
    {
        if (turn.Saga.Find(late.Step) is not { } step || turn[step] is not { InFlight: true } now || now.Phase != late.Phase || now.Attempt != late.Attempt) return;
        turn.Record("timed-out", step, late.Phase, late.Attempt);
        turn.Fail(step, "timeout", $"No answer within {step.Timeout.TotalSeconds:0.###} s.");
    }

    private static void RetryDue(Turn turn, SagaEvent.RetryDue due)
    {
        if (turn.Paused || turn.Saga.Find(due.Step) is not { } step) return;
        if (turn[step] is { InFlight: false, Due: not null } now && now.Phase == due.Phase && now.Attempt == due.Attempt) turn.Send(step);
    }

    private static void SagaTimedOut(Turn turn)
    {
        if (turn.Course != SagaStatus.Running || turn.PivotIsOut)
        {
            turn.DropDeadline();
            return;
        }
        turn.Back(new SagaError(null, "saga-timeout", $"Not at its commit point within {turn.Saga.Timeout?.TotalSeconds:0.###} s."));
    }

    private static void Recovered(Turn turn)
    {
        foreach (var step in turn.Saga.Steps)
        {
            if (turn[step] is not { InFlight: true } now) continue;
            turn[step] = now with { Unknown = now.Unknown || now.Phase == step.ForwardPhase };
            turn.Send(step);
        }
    }

    private static Decision Cancel(Turn turn, SagaEvent.CancelRequested cancel)
    {
        if (turn.Course == SagaStatus.Confirming)
            return turn.Refuse($"Saga '{turn.Id}' is past its commit point and only goes forward. Resolve a stuck step, or terminate it.");
        if (turn.Course == SagaStatus.Running && turn.PivotIsOut)
            return turn.Refuse($"Saga '{turn.Id}' has sent its pivot '{turn.Saga.Steps[turn.Saga.Pivot!.Value].Name}', whose outcome is not known yet. Wait for its answer.");
        turn.Record("cancel-requested", by: cancel.By, reason: cancel.Reason);
        turn.Paused = false;
        if (turn.Course == SagaStatus.Running) turn.Back(new SagaError(null, "cancelled", cancel.Reason));
        else turn.Advance();
        return turn.End();
    }

    private static Decision Retry(Turn turn, SagaEvent.RetryRequested retry)
    {
        if (turn.Paused) return turn.Refuse($"Saga '{turn.Id}' is paused. Resume it first.");
        var waiting = turn.Saga.Steps.Where(step => turn[step] is { InFlight: false, Due: not null }).ToArray();
        if (waiting.Length == 0) return turn.Refuse($"No step of saga '{turn.Id}' waits to be asked again.");
        turn.Record("retry-requested", by: retry.By, reason: retry.Reason);
        foreach (var step in waiting) turn.Send(step);
        return turn.End();
    }

    private static Decision Pause(Turn turn, SagaEvent.PauseRequested pause)
    {
        if (turn.Paused) return turn.Refuse($"Saga '{turn.Id}' is paused already.");
        turn.Record("paused", by: pause.By, reason: pause.Reason);
        turn.Paused = true;
        return turn.End();
    }

    private static Decision Resume(Turn turn, SagaEvent.ResumeRequested resume)
    {
        if (!turn.Paused) return turn.Refuse($"Saga '{turn.Id}' is not paused.");
        turn.Record("resumed", by: resume.By, reason: resume.Reason);
        turn.Paused = false;
        turn.Advance();
        return turn.End();
    }

    private static Decision Terminate(Turn turn, SagaEvent.TerminateRequested terminate)
    {
        turn.Record("terminate-requested", by: terminate.By, reason: terminate.Reason);
        turn.Terminate(new SagaError(null, "terminated", terminate.Reason), mixed: turn.Saga.Steps.Any(step => Backward.IsOpen(turn[step])));
        return turn.End();
    }

    private static Decision Resolve(Turn turn, SagaEvent.StepResolved resolved)
    {
        if (turn.Saga.Find(resolved.Step) is not { } step)
            return turn.Refuse($"Saga '{turn.Id}' has no step '{resolved.Step}'. Use one of {string.Join(", ", turn.Saga.Steps.Select(s => s.Name))}.");
        var now = turn[step];
        if (now.Phase is not { } phase || (!now.Stuck && now.Failures == 0))
            return turn.Refuse($"Step '{step.Name}' of saga '{turn.Id}' is {now.Status} and not failing. Only a failing step can be resolved.");
        var forward = phase == step.ForwardPhase;
        if (!resolved.Done && forward && turn.Course == SagaStatus.Running && !step.Pivot && turn.PivotIsOut)
            return turn.Refuse($"Saga '{turn.Id}' has sent its pivot and cannot turn back before its answer. Resolve the pivot first.");
        turn.Record("resolved", step, phase, now.Attempt, detail: resolved.Done ? "done" : "not done", by: resolved.By, reason: resolved.Reason);
        var error = new SagaError(step.Name, "resolved-not-done", resolved.Reason);
        if (resolved.Done) turn.Succeed(step, resolved.Result);
        else if (forward && turn.Course == SagaStatus.Running)
        {
            turn[step] = now with { Status = StepStatus.Refused, Error = error, InFlight = false, Due = null, Stuck = false, FinishedAt = turn.Now };
            turn.Back(error);
        }
        else turn.Terminate(error, mixed: true);
        return turn.End();
    }
}

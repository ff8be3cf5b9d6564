namespace Sagas;

/// <summary>What holds in every state a saga can be in. Checked after every decision, in production too: a saga that breaks one is parked with a report.</summary>
public static class Invariants
{
    /// <summary>The promises that <paramref name="state"/> breaks, each as a sentence; empty: none.</summary>
    public static IReadOnlyList<string> Check(SagaDefinition saga, SagaState state)
    {
        ArgumentNullException.ThrowIfNull(saga);
        ArgumentNullException.ThrowIfNull(state);
        List<string>? broken = null;
        void Break(string what) => (broken ??= []).Add(what);

        bool kept = false, undone = false, due = false;
        foreach (var step in saga.Steps)
        {
            var now = state.Steps[step.Index];
            kept |= now.Status is StepStatus.Confirming or StepStatus.Confirmed;
            var undoBegun = now.Status is StepStatus.Cancelling or StepStatus.Cancelled or StepStatus.Compensating or StepStatus.Compensated;
            undone |= undoBegun;
            due |= now.Due is not null;
            if (now.InFlight && (now.Phase is null || now.Due is null))
                Break($"P7: step '{step.Name}' has an attempt in flight but no time at which it is asked again.");
            if (undoBegun)
                foreach (var after in saga.Undoers[step.Index])
                    if (Backward.NeedsUndo(saga.Steps[after], state.Steps[after]) || Backward.IsUndoing(state.Steps[after]))
                        Break($"P4: step '{step.Name}' is undone before '{saga.Steps[after].Name}', which came after it.");
            if (now.Status != StepStatus.Pending && state.Course is SagaStatus.Running or SagaStatus.Confirming)
                foreach (var before in step.After)
                    if (now.Status != StepStatus.Pending && !state.Steps[before].Succeeded)
                        Break($"P5: step '{step.Name}' runs, but '{saga.Steps[before].Name}' before it has not succeeded.");
        }
        if (kept && undone && state.Course != SagaStatus.Terminated) Break("P1: some steps are confirmed and others undone.");
        if (kept)
            foreach (var step in saga.Steps)
            {
                var status = state.Steps[step.Index].Status;
                if (step.Kind == StepKind.Tcc && status is not (StepStatus.Tried or StepStatus.Confirming or StepStatus.Confirmed))
                    Break($"P3: a step is confirmed, but '{step.Name}' was not tried with success.");
                if (step.Pivot && status != StepStatus.Done) Break($"P3: a step is confirmed, but the pivot '{step.Name}' is not done.");
            }
        if (undone && saga.Pivot is { } pivot && state.Steps[pivot].Status == StepStatus.Done) Break("P1: steps are undone after the pivot.");
        var past = state.Course is SagaStatus.Confirming or SagaStatus.Completed;
        if (state.Course != SagaStatus.Terminated && past != state.CommittedAt is not null)
            Break($"P11: the saga is {state.Course}, but its commit point is {(state.CommittedAt is null ? "not " : "")}passed.");
        switch (state.Course)
        {
            case SagaStatus.Completed when !state.Steps.All(s => s.Status is StepStatus.Confirmed or StepStatus.Done or StepStatus.Skipped):
                Break("P2: the saga is Completed with steps that are not.");
                break;
            case SagaStatus.Compensated when saga.Steps.Any(s => Backward.NeedsUndo(s, state.Steps[s.Index]) || Backward.IsUndoing(state.Steps[s.Index])):
                Break("P2: the saga is Compensated with steps that are not undone.");
                break;
        }
        if (!state.Ended && !state.Paused && !due) Break("P7: the saga has not ended and nothing is due: it would never move again.");
        return (IReadOnlyList<string>?)broken ?? [];
    }
}

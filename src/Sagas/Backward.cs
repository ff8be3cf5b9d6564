namespace Sagas;

/// <summary>Going back: which steps must be undone, in which order, and when all are.</summary>
internal static class Backward
{
    /// <summary>It may have taken effect and is not being undone yet.</summary>
    public static bool NeedsUndo(StepDefinition step, StepState state) =>
        step.Undoable && state.Status is StepStatus.Trying or StepStatus.Tried or StepStatus.Doing or StepStatus.Done;

    /// <summary>It is being undone.</summary>
    public static bool IsUndoing(StepState state) => state.Status is StepStatus.Cancelling or StepStatus.Compensating;

    /// <summary>It holds, or may hold, something that is neither kept nor given back.</summary>
    public static bool IsOpen(StepState state) => state.Status is StepStatus.Trying or StepStatus.Tried or StepStatus.Doing or StepStatus.Done
        or StepStatus.Confirming or StepStatus.Cancelling or StepStatus.Compensating;

    /// <summary>It must be undone, and everything that came after it is: reverse order of dependency.</summary>
    public static bool IsReady(SagaDefinition saga, StepDefinition step, StepState[] steps)
    {
        if (!NeedsUndo(step, steps[step.Index])) return false;
        foreach (var after in saga.Undoers[step.Index])
            if (NeedsUndo(saga.Steps[after], steps[after]) || IsUndoing(steps[after])) return false;
        return true;
    }

    /// <summary>Nothing is left to undo.</summary>
    public static bool AllUndone(SagaDefinition saga, StepState[] steps)
    {
        foreach (var step in saga.Steps)
            if (NeedsUndo(step, steps[step.Index]) || IsUndoing(steps[step.Index])) return false;
        return true;
    }
}

namespace Sagas;

/// <summary>Going forward: which steps may start, and when all is done.</summary>
internal static class Forward
{
    /// <summary>Not started, and everything it comes after has succeeded.</summary>
    public static bool IsReady(StepDefinition step, StepState[] steps)
    {
        if (steps[step.Index].Status != StepStatus.Pending) return false;
        foreach (var before in step.After)
            if (!steps[before].Succeeded) return false;
        return true;
    }

    /// <summary>Every step has done its part up to the commit point.</summary>
    public static bool AllSucceeded(StepState[] steps)
    {
        foreach (var step in steps)
            if (!step.Succeeded) return false;
        return true;
    }

    /// <summary>Every step has reached its last status on the way to Completed.</summary>
    public static bool AllSettled(StepState[] steps)
    {
        foreach (var step in steps)
            if (step.Status is not (StepStatus.Confirmed or StepStatus.Done or StepStatus.Skipped)) return false;
        return true;
    }
}

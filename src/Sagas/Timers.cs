namespace Sagas;

/// <summary>What a saga's state says about time. The state names every command that may be out with its due time, so there is no second list of timers to keep in step.</summary>
public static class Timers
{
    /// <summary>When something is due next; null: nothing (ended or paused).</summary>
    public static DateTimeOffset? Next(SagaState saga)
    {
        ArgumentNullException.ThrowIfNull(saga);
        if (saga.Ended || saga.Paused) return null;
        var next = saga.Course == SagaStatus.Running ? saga.Deadline : null;
        foreach (var step in saga.Steps)
            if (step.Due is { } due && (next is null || due < next)) next = due;
        return next;
    }

    /// <summary>The events that are due at <paramref name="now"/>.</summary>
    public static IEnumerable<SagaEvent> Due(SagaDefinition definition, SagaState saga, DateTimeOffset now)
    {
        ArgumentNullException.ThrowIfNull(definition);
        ArgumentNullException.ThrowIfNull(saga);
        if (saga.Ended || saga.Paused) yield break;
        if (saga.Course == SagaStatus.Running && saga.Deadline <= now) yield return new SagaEvent.SagaTimedOut();
        for (var i = 0; i < saga.Steps.Length; i++)
        {
            var step = saga.Steps[i];
            if (step.Due is null || step.Due > now || step.Phase is not { } phase) continue;
            yield return step.InFlight
                ? new SagaEvent.AttemptTimedOut(definition.Steps[i].Name, phase, step.Attempt)
                : new SagaEvent.RetryDue(definition.Steps[i].Name, phase, step.Attempt);
        }
    }
}

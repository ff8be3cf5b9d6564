using System.Globalization;
using System.Text;

namespace Sagas.Testing;

/// <summary>A saga under test. What it shows is what is durable now.</summary>
public sealed class SagaRun
{
    private readonly SagaTest _test;

    internal SagaRun(SagaTest test, SagaId id) => (_test, Id) = (test, id);

    /// <summary>Its id.</summary>
    public SagaId Id { get; }

    /// <summary>The saga as it stands.</summary>
    public SagaState State => _test.Find(Id) ?? throw new SagaTestException($"There is no saga '{Id}'.");

    /// <summary>Its history.</summary>
    public IReadOnlyList<HistoryEntry> History => _test.History(Id);

    /// <summary>What it ended with.</summary>
    /// <exception cref="SagaTestException">It has not completed.</exception>
    public TResult? Result<TResult>()
    {
        ShouldHaveCompleted();
        return State.Result is { } result ? result.Read<TResult>() : default;
    }

    /// <summary>It ended completely done.</summary>
    public void ShouldHaveCompleted() => ShouldBe(SagaStatus.Completed);

    /// <summary>It ended completely undone, and exactly these steps were undone; without names: whichever.</summary>
    public void ShouldHaveCompensated(params string[] steps)
    {
        ShouldBe(SagaStatus.Compensated);
        Known(steps);
        var undone = StepsThat(StepStatus.Cancelled, StepStatus.Compensated);
        if (steps.Length > 0 && !undone.ToHashSet().SetEquals(steps)) Fail($"should have undone {Listed(steps)}, and has undone {Listed(undone)}");
    }

    /// <summary>The participants of these steps have confirmed.</summary>
    public void ShouldHaveConfirmed(params string[] steps) => ShouldHave("confirmed", steps, StepStatus.Confirmed);

    /// <summary>These steps are done: tried, confirmed or carried out.</summary>
    public void ShouldHaveDone(params string[] steps) => ShouldHave("done", steps, StepStatus.Tried, StepStatus.Confirming, StepStatus.Confirmed, StepStatus.Done);

    /// <summary>The participant of this step has refused, with this code if one is given.</summary>
    public void ShouldHaveRefused(string step, string? code = null)
    {
        Known([step]);
        var refused = History.LastOrDefault(entry => entry.Step == step && entry.Outcome == Outcome.Refused);
        if (refused is null) Fail($"should have been refused by '{step}'");
        if (code is not null && StepOf(step).Error?.Code is var found && found != code) Fail($"should have been refused by '{step}' with code '{code}', and the code is '{found}'");
    }

    /// <summary>These steps were never begun.</summary>
    public void ShouldNotHaveBegun(params string[] steps) => ShouldHave("left alone", steps, StepStatus.Pending, StepStatus.Skipped);

    /// <summary>It has not ended.</summary>
    public void ShouldNotHaveEnded()
    {
        if (State.Ended) Fail($"should not have ended, and has as {State.Course}");
    }

    /// <summary>It waits for an operator, because of this step if one is named.</summary>
    public void ShouldBeStuck(string? step = null)
    {
        ShouldBe(SagaStatus.Stuck);
        if (step is null) return;
        Known([step]);
        if (!StepOf(step).Stuck) Fail($"should be stuck at '{step}', and is not stuck there");
    }

    /// <summary>Its status is this one.</summary>
    public void ShouldBe(SagaStatus status)
    {
        if (State.Status != status) Fail($"should be {status}, and is {State.Status}");
    }

    /// <summary>The saga's story: its steps and its history, line by line.</summary>
    public override string ToString()
    {
        var (saga, definition) = (State, _test.Definition(State));
        var story = new StringBuilder($"Saga '{Id}' ({saga.Definition} v{saga.DefinitionVersion}) is {saga.Status}{(saga.Paused ? ", paused" : "")}{(saga.Error is { } error ? $": {error.Step} {error.Code}: {error.Message}" : "")}");
        foreach (var step in definition.Steps)
        {
            var state = saga.Steps[step.Index];
            story.Append(CultureInfo.InvariantCulture, $"\n  {step.Name,-20} {state.Status}, {state.Attempt} attempts{(state.Due is { } due ? $", due {due:d MMM HH:mm:ss.fff}" : "")}{(state.Error is { } fault ? $", {fault.Code}: {fault.Message}" : "")}");
        }
        story.Append("\nIts history:");
        foreach (var entry in History)
            story.Append(string.Create(CultureInfo.InvariantCulture, $"\n  {entry.Time:d MMM HH:mm:ss.fff}  {entry.Event} {entry.Step} {entry.Phase?.Word()} {entry.Outcome?.Word()} {entry.Detail} {entry.Reason}").TrimEnd());
        return story.ToString();
    }

    private void ShouldHave(string what, string[] steps, params StepStatus[] statuses)
    {
        Known(steps);
        var missing = steps.Where(step => !statuses.Contains(StepOf(step).Status)).ToArray();
        if (missing.Length > 0) Fail($"should have {what} {Listed(steps)}, and {string.Join(", ", missing.Select(step => $"'{step}' is {StepOf(step).Status}"))}");
    }

    private void Known(string[] steps)
    {
        var definition = _test.Definition(State);
        if (steps.FirstOrDefault(step => definition.Find(step) is null) is { } unknown)
            throw new SagaTestException($"'{definition.Name}' has no step '{unknown}'. Use one of {string.Join(", ", definition.Steps.Select(step => step.Name))}.");
    }

    private StepState StepOf(string name) => State.Steps[_test.Definition(State).Find(name)!.Index];

    private string[] StepsThat(params StepStatus[] statuses) =>
        [.. _test.Definition(State).Steps.Where(step => statuses.Contains(State.Steps[step.Index].Status)).Select(step => step.Name)];

    private static string Listed(string[] steps) => steps.Length == 0 ? "nothing" : string.Join(", ", steps.Select(step => $"'{step}'"));

    private void Fail(string what) => throw new SagaTestException($"Saga '{Id}' {what}.\n{this}");
}

using System.Collections.Immutable;
using System.Text.RegularExpressions;

namespace Sagas;

/// <summary>From what a C# definition drew to the frozen graph: finds all its faults, then freezes.</summary>
internal static partial class DefinitionDrawing
{
    /// <summary>No time in a definition is longer: beyond it lie typing errors and the end of the calendar.</summary>
    public static readonly TimeSpan Longest = TimeSpan.FromDays(3650);

    /// <param name="saga">The definition in C#.</param>
    /// <param name="routes">Who carries out which command; null: it is to be looked at, and whoever carries out a command is called by its name.</param>
    public static SagaDefinition Build(Saga saga, IReadOnlyCollection<CommandRoute>? routes)
    {
        var type = saga.GetType();
        var faults = new List<string>();
        var attribute = (SagaAttribute?)Attribute.GetCustomAttribute(type, typeof(SagaAttribute));
        if (attribute is null)
            faults.Add($"{type.Name} has no name. Put [Saga(\"{CommandName.Kebab(type.Name)}\", version: 1)] on it.");
        var title = attribute?.Name ?? type.Name;
        if (attribute is not null && !IsName(attribute.Name))
            faults.Add($"{type.Name}: '{attribute.Name}' cannot name a saga. Use 1 to 64 of A-Z a-z 0-9 _ -.");
        if (attribute is { Version: < 1 })
            faults.Add($"{title} has version {attribute.Version}. Versions start at 1.");

        FlowGraph graph;
        try
        {
            graph = saga.Draw();
        }
        catch (Exception e)
        {
            faults.Add($"{title}: Define throws {e.GetType().Name}: {e.Message} Mend it: Define only draws the graph; read data inside the lambdas.");
            throw new DefinitionException(faults);
        }
        faults.AddRange(graph.Faults.Select(f => $"{title}: {f}"));
        var participants = graph.Steps.Select(step => ParticipantsOf(step, routes)).ToArray();
        faults.AddRange(FaultsOf(graph, participants, routes).Concat(Rehearsal.FaultsOf(saga, graph)).Select(f => $"{title}: {f}"));
        if (faults.Count > 0) throw new DefinitionException(faults);

        var steps = graph.Steps.Select((step, i) => Freeze(step, participants[i][0])).ToImmutableArray();
        return new SagaDefinition(attribute!.Name, attribute.Version, steps, graph.Timeout, graph.Result, saga.InputType, saga.ResultType);
    }

    private static string[] ParticipantsOf(StepDraft step, IReadOnlyCollection<CommandRoute>? routes) =>
        step.Participant is { } said ? [said]
        : routes is null ? [CommandName.Of(step.Command)]
        : [.. routes.Where(r => r.Command == CommandName.Of(step.Command)).Select(r => r.Participant).Distinct().Order(StringComparer.Ordinal)];

    private static IEnumerable<string> FaultsOf(FlowGraph graph, string[][] participants, IReadOnlyCollection<CommandRoute>? routes)
    {
        var steps = graph.Steps;
        if (steps.Count == 0) yield return "it has no steps. Add a Step or a Tcc.";
        foreach (var same in steps.GroupBy(s => s.Name).Where(g => g.Count() > 1))
            yield return $"{same.Count()} steps are called '{same.Key}'. Name them apart with .Named(\"...\").";
        var pivots = steps.Where(s => s.Pivot).ToArray();
        if (pivots.Length > 1)
            yield return $"steps {string.Join(" and ", pivots.Select(p => $"'{p.Name}'"))} each say .Pivot(). A saga has one point of no return at most: keep one.";
        foreach (var step in steps)
        {
            if (step.Misplaced is not null) yield return $"step '{step.Name}' {step.Misplaced}";
            if (!IsName(step.Name))
                yield return $"'{step.Name}' cannot name the step of {step.Command.Name}. Call .Named(\"...\") with 1 to 64 of A-Z a-z 0-9 _ -.";
            var known = participants[step.Index];
            if (known.Length == 0)
                yield return $"no participant is known for command '{CommandName.Of(step.Command)}' of step '{step.Name}'. Register a handler for {step.Command.Name}, or say .To(\"participant\").";
            if (known.Length > 1)
                yield return $"participants {string.Join(" and ", known.Select(p => $"'{p}'"))} both carry out command '{CommandName.Of(step.Command)}' of step '{step.Name}'. Say which with .To(\"participant\").";
            if (known is [var one] && !ParticipantPattern().IsMatch(one))
                yield return $"'{one}' cannot name the participant of step '{step.Name}'. Use 1 to 64 of A-Z a-z 0-9 . _ -.";
            foreach (var command in new[] { step.Command, step.CompensateCommand }.OfType<Type>().Distinct().Where(c => !ParticipantPattern().IsMatch(CommandName.Of(c))))
                yield return $"'{CommandName.Of(command)}' cannot name the command {command.Name} of step '{step.Name}'. Give [Command(\"...\")] 1 to 64 of A-Z a-z 0-9 . _ -.";
            // The barrier that knows what a step did is its participant's: no other could answer for it.
            if (known is [var here] && step.CompensateCommand is { } undo && (routes ?? []).Where(r => r.Command == CommandName.Of(undo)).Select(r => r.Participant).ToArray() is { Length: > 0 } there
                && !there.Contains(here))
                yield return $"step '{step.Name}' is carried out by '{here}', but its compensation '{CommandName.Of(undo)}' by '{there[0]}'. Handle {undo.Name} in '{here}' too: what a step did, its own participant undoes.";
            if (step.Retry.Attempts < 1)
                yield return $"step '{step.Name}' has {step.Retry.Attempts} attempts. Give at least 1: the first counts.";
            if (step.Retry.First < TimeSpan.Zero || step.Retry.Max < step.Retry.First || step.Retry.Max > Longest)
                yield return $"step '{step.Name}' retries after {step.Retry.First}, at most {step.Retry.Max}. Give a first delay from zero up and a longest one not below it, of at most {Longest.Days} days.";
            if (step.Timeout <= TimeSpan.Zero || step.Timeout > Longest)
                yield return $"step '{step.Name}' has an attempt timeout of {step.Timeout}. Give a time longer than zero and of at most {Longest.Days} days.";
            if (step.Said.Count > 1)
            {
                yield return $"step '{step.Name}' says {string.Join(" and ", step.Said)}. Say one of them, once.";
                continue;
            }

            var undoable = step.Kind == StepKind.Tcc || step.Compensate is not null;
            var afterPivot = pivots.Any(p => step.Before.Contains(p.Index));
            if (undoable && pivots.Length == 1 && !pivots[0].Before.Contains(step.Index))
                yield return $"step '{step.Name}' can be undone but does not come before the pivot '{pivots[0].Name}', after which nothing is undone. Put it before the pivot, or take its compensation away.";
            if (!undoable && !step.ReadOnly && !step.Pivot && !afterPivot)
                yield return $"step '{step.Name}' says neither .Compensate(...) nor .ReadOnly() nor .Pivot(). Say how it is undone, or that it need not be.";
        }
    }

    private static StepDefinition Freeze(StepDraft step, string participant)
    {
        var forward = new BusEndpoint(participant, CommandName.Of(step.Command));
        var tcc = step.Kind == StepKind.Tcc;
        return new StepDefinition
        {
            Index = step.Index,
            Name = step.Name,
            Kind = step.Kind,
            After = [.. step.After],
            Forward = forward,
            Confirm = tcc ? forward : null,
            Undo = tcc ? forward : step.CompensateCommand is { } undo ? new BusEndpoint(participant, CommandName.Of(undo)) : null,
            Map = step.Map,
            Compensation = step.Compensate,
            Pivot = step.Pivot,
            ReadOnly = step.ReadOnly,
            Retry = step.Retry,
            Timeout = step.Timeout,
            NoRetryOn = [.. step.NoRetryOn],
            CommandType = step.Command,
        };
    }

    private static bool IsName(string? text) => text is not null && NamePattern().IsMatch(text);

    [GeneratedRegex(@"^[A-Za-z0-9_-]{1,64}\z")]
    private static partial Regex NamePattern();

    [GeneratedRegex(@"^[A-Za-z0-9._-]{1,64}\z")]
    private static partial Regex ParticipantPattern();
}

using System.Collections.Immutable;

namespace Sagas;

/// <summary>Questions about the order of steps. Steps stand after all they depend on, so one pass from either end is enough.</summary>
internal static class Graphs
{
    /// <summary>For each step, everything it comes after, directly or not.</summary>
    public static bool[][] Ancestors(IReadOnlyList<ImmutableArray<int>> after)
    {
        var all = new bool[after.Count][];
        for (var i = 0; i < after.Count; i++)
        {
            all[i] = new bool[after.Count];
            foreach (var before in after[i])
            {
                all[i][before] = true;
                for (var k = 0; k < before; k++) all[i][k] |= all[before][k];
            }
        }
        return all;
    }

    /// <summary>For each step, the undoable steps among all that come after it.</summary>
    public static ImmutableArray<ImmutableArray<int>> UndoableFollowers(ImmutableArray<StepDefinition> steps)
    {
        var ancestors = Ancestors([.. steps.Select(s => s.After)]);
        return [.. steps.Select(step => steps.Where(other => other.Undoable && ancestors[other.Index][step.Index]).Select(other => other.Index).ToImmutableArray())];
    }
}

using System.Collections.Concurrent;
using System.Globalization;
using System.Text;
using Sagas.Testing.Simulator;
using Sagas.Tests.Heart;
using Shouldly;
using Xunit;

namespace Sagas.Tests.Testing;

/// <summary>Engines, stores, journals and barriers that are broken on purpose. Each is found out, by the explorer or by the simulator: what is not is a hole in them.</summary>
public sealed class MutantTests(ITestOutputHelper output)
{
    private const int Sagas = 40;

    /// <summary>
    /// For mutants that a search finds late: the seed at which it did. Tried first, and another change to the engine may make another world of it; then the search
    /// begins anew, and the output says which seed belongs here.
    /// </summary>
    private static readonly Dictionary<Mutant, int> Known = new()
    {
        [Mutant.LoseTimer] = 16, [Mutant.NoOwnerCheck] = 23, [Mutant.RaceOverwrites] = 25, [Mutant.ReleaseBeforeLastCommit] = 31,
    };

    [Fact]
    public void Every_broken_engine_is_found_out()
    {
        var rows = new ConcurrentBag<(int Place, string Row, bool IsCaught)>();
        var mutants = ExplorerTests.Mutants().Select(mutant => (Name: mutant.Name, Run: (Func<(string Who, string What)?>)(() =>
                ExplorerTests.Catch(mutant.Saga, mutant.Faults, mutant.World, mutant.Decide) is var (states, violation)
                    ? (string.Create(CultureInfo.InvariantCulture, $"explorer   {states,8:N0} states"), violation) : null)))
            .Concat(Enum.GetValues<Mutant>().Except([Mutant.None]).Select(mutant => (Name: Sentence(mutant), Run: (Func<(string Who, string What)?>)(() => Simulate(mutant))))).ToArray();
        Parallel.For(0, mutants.Length, new ParallelOptions { MaxDegreeOfParallelism = 2 }, i =>
        {
            var caught = mutants[i].Run();
            rows.Add((i, caught is var (who, what) ? $"{mutants[i].Name,-62} {who}  {(what.Length > 120 ? what[..120] + "…" : what)}" : $"{mutants[i].Name,-62} NOT CAUGHT", caught is not null));
        });
        foreach (var (_, row, _) in rows.OrderBy(row => row.Place)) output.WriteLine(row);
        rows.Where(row => !row.IsCaught).Select(row => row.Row).ShouldBeEmpty();
        rows.Count.ShouldBeGreaterThanOrEqualTo(25);
    }

    private static (string Who, string What)? Simulate(Mutant mutant)
    {
        var known = Known.TryGetValue(mutant, out var seed) ? seed : (int?)null;
        if (known is not null && Simulation.CatchWith(mutant, Sagas, seed) is { } at) return (string.Create(CultureInfo.InvariantCulture, $"simulator  known seed {seed,3}"), at);
        if (Simulation.Catch(mutant, Sagas, most: 2000) is not var (seeds, fault)) return null;
        var renew = known is not null || seeds > 10 ? string.Create(CultureInfo.InvariantCulture, $"(to be renewed in the table of known seeds: {mutant} = {seeds}) ") : "";
        return (string.Create(CultureInfo.InvariantCulture, $"simulator  {seeds,8} seeds "), renew + fault);
    }

    /// <summary><c>LoseTimer</c> as <c>lose timer</c>.</summary>
    private static string Sentence(Mutant mutant)
    {
        var words = new StringBuilder();
        foreach (var c in mutant.ToString())
        {
            if (char.IsUpper(c) && words.Length > 0) words.Append(' ');
            words.Append(char.ToLowerInvariant(c));
        }
        return words.ToString();
    }
}

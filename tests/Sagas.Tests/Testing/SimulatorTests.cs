using System.Globalization;
using Sagas.Testing.Simulator;
using Shouldly;
using Xunit;

namespace Sagas.Tests.Testing;

public class SimulatorTests(ITestOutputHelper output)
{
    /// <summary>The same seeds every time, each run twice: what is counted here is counted in every run of the suite.</summary>
    [Fact]
    public void The_same_seed_is_the_same_world_event_for_event_and_every_kind_of_fault_strikes()
    {
        var report = Simulation.Run(new SimulationOptions { Seed = 1, Seeds = 60, Sagas = 40, Twice = true });
        output.WriteLine(report.ToString());
        report.Failure.ShouldBeNull();
        var hits = new Dictionary<Fault, long>(report.Hits);
        // What is rare may need some more: another change to the engine makes other worlds of the same seeds.
        for (var seed = 61; seed < 261 && hits.ContainsValue(0); seed += 20)
        {
            report = Simulation.Run(new SimulationOptions { Seed = seed, Seeds = 20, Sagas = 40 });
            report.Failure.ShouldBeNull();
            foreach (var (fault, count) in report.Hits) hits[fault] += count;
        }
        hits.Where(hit => hit.Value == 0).Select(hit => hit.Key).ShouldBeEmpty();
    }
}

/// <summary>By itself, so that it has its minute beside the other tests.</summary>
public class FreshSeedTests(ITestOutputHelper output)
{
    /// <summary>A minute in every run of the suite, on one thread; SAGAS_SIMULATE_SECONDS says otherwise.</summary>
    [Fact]
    public void Fresh_seeds_break_no_promise()
    {
        var seconds = int.Parse(Environment.GetEnvironmentVariable("SAGAS_SIMULATE_SECONDS") ?? "60", CultureInfo.InvariantCulture);
        var report = Simulation.Run(new SimulationOptions { Time = TimeSpan.FromSeconds(seconds), AtOnce = 1, Twice = true });
        output.WriteLine(report.ToString());
        report.Failure.ShouldBeNull();
        report.Completed.ShouldBeGreaterThan(report.Sagas / 5, "a run in which little succeeds proves little");
        report.Compensated.ShouldBeGreaterThan(0);
    }
}

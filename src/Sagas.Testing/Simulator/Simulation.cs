using System.Diagnostics;
using System.Globalization;

namespace Sagas.Testing.Simulator;

/// <summary>What to simulate.</summary>
public sealed record SimulationOptions
{
    /// <summary>The first seed; the following ones count up from it. Null: a fresh one.</summary>
    public int? Seed { get; init; }

    /// <summary>How many seeds; null: as many as fit into <see cref="Time"/>.</summary>
    public int? Seeds { get; init; }

    /// <summary>How long to go on with fresh seeds, in real time; none is begun that would not end in it, and those at its end are smaller. Default 20 s.</summary>
    public TimeSpan Time { get; init; } = TimeSpan.FromSeconds(20);

    /// <summary>How many sagas all seeds together are to have at least; null: see <see cref="Seeds"/>.</summary>
    public long? TotalSagas { get; init; }

    /// <summary>How many sagas a seed has; null: 20 to 2,000, as the seed decides and the time allows.</summary>
    public int? Sagas { get; init; }

    /// <summary>1: one node on a journal; 2 or 3: so many on a store that they share. Null: as the seed decides.</summary>
    public int? Nodes { get; init; }

    /// <summary>Faults to leave out.</summary>
    public IReadOnlySet<Fault> Without { get; init; } = new HashSet<Fault>();

    /// <summary>How many seeds run at a time, each on a thread of its own. Default 2.</summary>
    public int AtOnce { get; init; } = 2;

    /// <summary>Whether every seed is run twice, to see that both runs are the same. Default false.</summary>
    public bool Twice { get; init; }

    /// <summary>Whether a failing seed is made smaller before it is reported. Default true.</summary>
    public bool Shrink { get; init; } = true;

    /// <summary>Told what happens, line by line.</summary>
    public Action<string>? Log { get; init; }
}

/// <summary>What a simulation found.</summary>
/// <param name="Seeds">How many seeds were run.</param>
/// <param name="Sagas">How many sagas they had.</param>
/// <param name="Completed">How many completed.</param>
/// <param name="Compensated">How many were compensated.</param>
/// <param name="OnNodes">How many of the sagas ran on two or three nodes that share a store; the others on one with a journal.</param>
/// <param name="TakenOver">How often a saga of a node was taken over by another.</param>
/// <param name="Elapsed">In real time.</param>
/// <param name="Simulated">In the time of the simulated worlds.</param>
/// <param name="Hits">How often each fault struck.</param>
/// <param name="Failure">The first seed that broke a promise, with its story; null: none did.</param>
public sealed record SimulationReport(int Seeds, long Sagas, long Completed, long Compensated, long OnNodes, long TakenOver, TimeSpan Elapsed, TimeSpan Simulated, IReadOnlyDictionary<Fault, long> Hits, string? Failure)
{
    /// <summary>The figures as text.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture,
        $"{Seeds} seeds, {Sagas} sagas ({Completed} completed, {Compensated} compensated; {OnNodes} on several nodes, {TakenOver} times taken over) in {Elapsed.TotalSeconds:0.0} s: {Sagas / Elapsed.TotalSeconds:0} sagas/s, {Simulated / Elapsed:0} times as fast as the clock\n")
        + "faults: " + string.Join(", ", Hits.Select(hit => string.Create(CultureInfo.InvariantCulture, $"{hit.Key} {hit.Value}")));
}

/// <summary>
/// Runs the production engine, journal, barrier and participant host in simulated worlds, thousands of sagas at once, while disk, bus, clocks and processes
/// fail; then holds what participants really did against what the engine says. The same seed is the same world, event for event.
/// </summary>
public static class Simulation
{
    private const int LeastSagas = 20;

    /// <summary>Runs seeds until one breaks a promise, or time is over.</summary>
    public static SimulationReport Run(SimulationOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        var first = options.Seed ?? Random.Shared.Next(1, 1 << 30);
        var clock = Stopwatch.StartNew();
        var hits = new long[Enum.GetValues<Fault>().Length];
        long sagas = 0, completed = 0, compensated = 0;
        var simulated = TimeSpan.Zero;
        string? failure = null;
        var seeds = 0;
        long takenOver = 0, onNodes = 0;
        var gate = new Lock();
        // Only time decides how many there are: then also how large.
        var timed = options.Seeds is null && options.TotalSagas is null && options.Sagas is null;
        var (busy, judged) = (TimeSpan.Zero, 0L);
        Seed? Next()
        {
            lock (gate)
            {
                var most = timed ? Fitting() : int.MaxValue;
                if (failure is not null || most < LeastSagas) return null;
                if (options.TotalSagas is { } total ? sagas >= total : options.Seeds is { } count ? seeds >= count : clock.Elapsed >= options.Time) return null;
                var number = first + seeds++;
                return new Seed(number, options.Sagas ?? Math.Min(most, DrawSagas(number)), options.Nodes ?? 0, options.Without);
            }
        }
        // How many sagas a seed may have to be over in time for certain, by what they have cost so far; the first has some in any case.
        int Fitting()
        {
            var cost = judged > 0 ? busy / judged : 10.Milliseconds();
            var fitting = (int)Math.Min((options.Time - clock.Elapsed) / 2 / cost, Math.Max(options.Time / 10 / cost, LeastSagas));
            return seeds == 0 ? Math.Max(fitting, LeastSagas) : fitting;
        }
        void Work()
        {
            while (Next() is { } run)
            {
                string? found;
                var begun = clock.Elapsed;
                try
                {
                    found = Try(run);
                }
                catch (InvalidOperationException e)
                {
                    found = e.ToString();
                }
                lock (gate) (failure, busy, judged) = (failure ?? found, busy + (clock.Elapsed - begun), judged + run.Sagas);
            }
        }
        string? Try(Seed run)
        {
            var world = run.Run();
            lock (gate)
            {
                sagas += world.Sagas;
                completed += world.Audit.Completed;
                compensated += world.Audit.Compensated;
                takenOver += world.Audit.TakenOver;
                if (world.Nodes.Count > 1) onNodes += world.Sagas;
                simulated += world.Scheduler.Now - world.Settings.Morning;
                for (var i = 0; i < hits.Length; i++) hits[i] += world.Faults.Hits[i];
            }
            options.Log?.Invoke(string.Create(CultureInfo.InvariantCulture, $"seed {run.Number}: {world.Sagas} sagas, {(world.Nodes.Count == 1 ? "a node on a journal" : $"{world.Nodes.Count} nodes")}, {world.Scheduler.Steps} steps, hash {world.Hash:x16}"));
            if (world.Audit.Faults.Count > 0) return Tell(options.Shrink ? Smaller(run, options.Log) : run);
            return options.Twice && run.Run().Hash is var again && again != world.Hash
                ? $"Seed {run.Number} is not the same twice: hash {world.Hash:x16}, then {again:x16}. {Divergence(run)}" : null;
        }
        var workers = Enumerable.Range(0, Math.Max(1, options.AtOnce)).Select(_ => new Thread(Work)).ToArray();
        foreach (var worker in workers) worker.Start();
        foreach (var worker in workers) worker.Join();
        return new SimulationReport(seeds, sagas, completed, compensated, onNodes, takenOver, clock.Elapsed, simulated,
            Enum.GetValues<Fault>().ToDictionary(fault => fault, fault => hits[(int)fault]), failure);
    }

    private static int DrawSagas(int seed) => (int)(LeastSagas * Math.Pow(100, new Random(seed).NextDouble()));

    /// <summary>After how many seeds a broken world is noticed, and by what; null: not within <paramref name="most"/>.</summary>
    internal static (int Seeds, string Fault)? Catch(Mutant mutant, int sagas, int most)
    {
        for (var seed = 1; seed <= most; seed++)
            if (CatchWith(mutant, sagas, seed) is { } fault) return (seed, fault);
        return null;
    }

    /// <summary>By what a seed notices that the world is broken; null: it does not.</summary>
    internal static string? CatchWith(Mutant mutant, int sagas, int seed) =>
        new Seed(seed, sagas, mutant < Mutant.NoOwnerCheck ? 1 : 2 + seed % 2, new HashSet<Fault>(), mutant).Run().Audit.Faults is { Count: > 0 } faults ? faults[0] : null;

    /// <summary>Fewer sagas and fewer kinds of fault, as long as something is still broken.</summary>
    private static Seed Smaller(Seed failing, Action<string>? log)
    {
        var clock = Stopwatch.StartNew();
        var patience = TimeSpan.FromSeconds(30);
        bool Fails(Seed seed) => clock.Elapsed < patience && seed.Run().Audit.Faults.Count > 0;
        failing = failing with { Nodes = failing.Run().Nodes.Count };
        for (var part = 2; part <= 8 && failing.Sagas > 1;)
        {
            var fewer = failing with { Sagas = failing.Sagas - Math.Max(1, failing.Sagas / part * (part == 2 ? 1 : 1)) };
            if (fewer.Sagas > 0 && Fails(fewer)) failing = fewer;
            else part *= 2;
        }
        foreach (var fault in Enum.GetValues<Fault>())
            if (!failing.Without.Contains(fault) && failing with { Without = new HashSet<Fault>(failing.Without) { fault } } is var fewer && Fails(fewer)) failing = fewer;
        for (var fewer = failing with { Sagas = failing.Sagas / 2 }; fewer.Sagas > 0 && Fails(fewer); fewer = failing with { Sagas = failing.Sagas / 2 }) failing = fewer;
        log?.Invoke($"made smaller in {clock.Elapsed.TotalSeconds:0.0} s: {failing}");
        return failing;
    }

    // What concerns every saga.
    private static readonly string[] Common = [" start ", " open ", " crash ", " clock ", " partition ", " calm ", " broken "];

    private static string Tell(Seed failing)
    {
        var world = failing.Run(tellStory: true);
        var concerned = world.Audit.Concerned;
        var story = world.Story.Where(line => Common.Any(line.Contains) || concerned.Any(saga => line.Contains($" {saga}/") || line.Contains($" {saga} "))).ToArray();
        return $"Seed {failing.Number} breaks a promise.\n  {string.Join("\n  ", world.Audit.Faults)}\n"
            + $"Faults in it: {string.Join(", ", Enum.GetValues<Fault>().Where(fault => world.Faults.Hits[(int)fault] > 0).Select(fault => $"{fault} {world.Faults.Hits[(int)fault]}"))}\n"
            + $"Replay: {failing}\nThe last of its story:\n  {string.Join("\n  ", story.TakeLast(60))}";
    }

    private static string Divergence(Seed seed)
    {
        var (one, two) = (seed.Run(tellStory: true).Story, seed.Run(tellStory: true).Story);
        var at = one.Zip(two).TakeWhile(pair => pair.First == pair.Second).Count();
        return $"They part after {at} events:\n  {string.Join("\n  ", one.Skip(at - 12).Take(12))}\nthen\n  {string.Join("\n  ", one.Skip(at).Take(6))}\nagainst\n  {string.Join("\n  ", two.Skip(at).Take(6))}";
    }

    /// <summary>One world, and how to ask for it again.</summary>
    private sealed record Seed(int Number, int Sagas, int Nodes, IReadOnlySet<Fault> Without, Mutant Mutant = Mutant.None)
    {
        public World Run(bool tellStory = false)
        {
            var nodes = Nodes > 0 ? Nodes : new Random(Number ^ 0x70de5).Next(4) switch { 0 or 1 => 1, var drawn => drawn };
            World? world = null;
            Exception? failed = null;
            // A thread of its own, because a caller's synchronization context would take continuations away from the simulator.
            var thread = new Thread(() =>
            {
                try
                {
                    (world = new World(Number, Sagas, nodes, Without, tellStory, Mutant)).Run();
                }
                catch (Exception e)
                {
                    failed = new InvalidOperationException($"Seed {Number} cannot be simulated: {e.Message} Replay: {this}", e);
                }
            }, 16 << 20) { IsBackground = true, Name = "simulator" };
            thread.Start();
            thread.Join();
            return failed is null ? world! : throw failed;
        }

        public override string ToString() => $"dotnet run -c Release --project tests/Sagas.Benchmarks -- simulate --seed {Number} --seeds 1 --sagas {Sagas} --nodes {Nodes}"
            + (Without.Count > 0 ? $" --without {string.Join(",", Without.Order())}" : "");
    }
}

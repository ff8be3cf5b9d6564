using System.Globalization;
using Sagas.Testing.Simulator;

namespace Sagas.Benchmarks;

/// <summary>The simulator by hand.</summary>
internal static class Simulate
{
    public static int Run(string[] args)
    {
        if (args is ["--mutants", ..]) return Mutants(args.Length > 1 ? Number(args[1]) : 60, args.Length > 2 ? Enum.Parse<Mutant>(args[2]) : null);
        var options = new SimulationOptions { Time = TimeSpan.FromSeconds(60), Log = Console.WriteLine };
        for (var i = 0; i < args.Length; i += 2)
        {
            if (i + 1 >= args.Length) throw new ArgumentException($"{args[i]} has no value.");
            var value = args[i + 1];
            options = args[i] switch
            {
                "--seed" => options with { Seed = Number(value) },
                "--seeds" => options with { Seeds = Number(value) },
                "--sagas" => options with { Sagas = Number(value) },
                "--at-once" => options with { AtOnce = Number(value) },
                "--nodes" => options with { Nodes = Number(value) },
                "--sagas-total" => options with { TotalSagas = Number(value) },
                "--seconds" => options with { Time = TimeSpan.FromSeconds(Number(value)) },
                "--without" => options with { Without = value.Split(',').Select(Enum.Parse<Fault>).ToHashSet() },
                "--twice" => options with { Twice = bool.Parse(value) },
                "--shrink" => options with { Shrink = bool.Parse(value) },
                "--quiet" => options with { Log = bool.Parse(value) ? null : Console.WriteLine },
                _ => throw new ArgumentException($"There is no option {args[i]}."),
            };
        }
        var report = Simulation.Run(options);
        Console.WriteLine(report);
        if (report.Failure is not null) Console.WriteLine(report.Failure);
        return report.Failure is null ? 0 : 1;
    }

    /// <summary>Which broken world is noticed after how many seeds.</summary>
    private static int Mutants(int most, Mutant? only)
    {
        var escaped = 0;
        foreach (var mutant in Enum.GetValues<Mutant>().Where(mutant => mutant != Mutant.None && (only ?? mutant) == mutant))
        {
            var caught = Simulation.Catch(mutant, sagas: 40, most);
            if (caught is null) escaped++;
            Console.WriteLine(caught is var (seeds, fault) ? $"{mutant,-24}{seeds,4}  {fault}" : $"{mutant,-24} not caught in {most} seeds");
        }
        return escaped;
    }

    private static int Number(string text) => int.Parse(text, CultureInfo.InvariantCulture);
}

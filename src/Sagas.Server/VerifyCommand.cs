using System.Diagnostics;
using System.Globalization;

namespace Sagas.Server;

/// <summary><c>verify FILE</c>: the explorer's verdict on a definition in JSON, without a server.</summary>
internal static class VerifyCommand
{
    private const string Help = """
        usage: verify FILE [--attempts 2] [--crashes 1] [--duplicates 1] [--drops 1] [--takeovers 0] [--pauses 0] [--cancel true] [--errors false] [--busy false] [--max-states 20000000]

        Tries every order of every event and fault within these bounds for the definition in FILE: without retries, as they stand, and with errors. A run that cannot be tried to its end is the last.
        Exit code 0: every promise holds. 1: one is broken; the shortest story of how is printed. 2: the file or an argument is wrong, or not everything could be tried.
        """;

    public static int Run(string[] args, TextWriter output, TextWriter error)
    {
        if (args is [] or ["--help" or "-h", ..])
        {
            (args is [] ? error : output).WriteLine(Help);
            return args is [] ? 2 : 0;
        }
        try
        {
            var bounds = BoundsOf(args[1..]);
            var saga = DefinitionJson.Parse(File.ReadAllBytes(args[0]) is var bytes && bytes.AsSpan().StartsWith("\uFEFF"u8) ? bytes.AsMemory(3) : bytes);
            var begun = Stopwatch.GetTimestamp();
            var found = Explorer.Verify(saga, bounds);
            var seconds = Stopwatch.GetElapsedTime(begun).TotalSeconds;
            return Tell(saga, found, seconds, output);
        }
        catch (DefinitionJsonException e)
        {
            error.WriteLine($"{args[0]} is no definition:{string.Concat(e.Faults.Select(fault => $"\n  - {fault.Path}: {fault.Message}"))}");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            error.WriteLine(e is ArgumentException ? $"{e.Message} verify --help says more." : $"{args[0]} cannot be read: {e.Message}");
        }
        return 2;
    }

    /// <summary>Prints what was found; the exit code.</summary>
    internal static int Tell(SagaDefinition saga, Verification found, double seconds, TextWriter output)
    {
        output.WriteLine(found);
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{found.States:N0} states in {seconds:0.0} s. ") + found.Verdict switch
        {
            ExplorerVerdict.Holds => $"{saga} holds: every order of every event and fault within the bounds was tried, and no promise breaks.",
            ExplorerVerdict.Violated => $"{saga} is broken: {found.Violation}",
            _ => "Nothing is broken so far, but not everything was tried. Lower --attempts, --duplicates or --drops, or raise --max-states.",
        });
        return found.Verdict switch { ExplorerVerdict.Holds => 0, ExplorerVerdict.Violated => 1, _ => 2 };
    }

    private static ExplorerBounds BoundsOf(string[] args)
    {
        var bounds = new ExplorerBounds();
        for (var i = 0; i < args.Length; i += 2)
        {
            var (name, value) = (args[i], i + 1 < args.Length ? args[i + 1] : throw new ArgumentException($"{args[i]} has no value."));
            bounds = name switch
            {
                "--attempts" => bounds with { Attempts = Number(name, value, 1, 20) },
                "--crashes" => bounds with { Crashes = Number(name, value, 0, 7) },
                "--duplicates" => bounds with { Duplicates = Number(name, value, 0, 7) },
                "--drops" => bounds with { Drops = Number(name, value, 0, 7) },
                "--takeovers" => bounds with { Takeovers = Number(name, value, 0, 7) },
                "--pauses" => bounds with { Pauses = Number(name, value, 0, 7) },
                "--cancel" => bounds with { Cancel = Flag(name, value) },
                "--errors" => bounds with { Errors = Flag(name, value) },
                "--busy" => bounds with { Busy = Flag(name, value) },
                "--max-states" => bounds with { MaxStates = Number(name, value, 1, int.MaxValue) },
                _ => throw new ArgumentException($"There is no option {name}."),
            };
        }
        return bounds;
    }

    private static int Number(string name, string value, int least, int most) =>
        int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number >= least && number <= most ? number
            : throw new ArgumentException(string.Create(CultureInfo.InvariantCulture, $"{name} is {value}. Give a whole number from {least} to {most}."));

    private static bool Flag(string name, string value) => bool.TryParse(value, out var flag) ? flag : throw new ArgumentException($"{name} is {value}. Give true or false.");
}

using Sagas.MassTransit;
using Sagas.Redis;
using Sagas.Runtime;

namespace Sagas.Benchmarks;

/// <summary>What to run.</summary>
internal sealed record Options
{
    public string Store { get; private init; } = "journal";
    public string Participants { get; private init; } = "bus";
    public string Bus { get; private init; } = "memory";
    public int InFlight { get; private init; } = 512;
    public double Seconds { get; private init; } = 15;
    public double Warmup { get; private init; } = 5;
    public string Shape { get; private init; } = "parallel";
    public string Mode { get; private init; } = "ok";
    public string Barrier { get; private init; } = "memory";
    public string? Path { get; private init; }
    public int? Workers { get; private init; }

    /// <summary>Where Redis is; null: a server of the benchmark's own.</summary>
    public string? Redis { get; init; }

    /// <summary>Where RabbitMQ is, as a URL; null: a server of the benchmark's own.</summary>
    public string? RabbitMq { get; init; }

    /// <summary>When the benchmark's own Redis syncs its file.</summary>
    public string Fsync { get; private init; } = "everysec";

    public static Options Parse(string[] args)
    {
        var options = new Options();
        for (var i = 0; i < args.Length; i += 2)
        {
            if (i + 1 >= args.Length) throw new ArgumentException($"{args[i]} has no value.");
            var value = args[i + 1];
            options = args[i] switch
            {
                "--store" => options with { Store = OneOf(args[i], value, "journal", "memory", "redis") },
                "--redis" => options with { Redis = value },
                "--fsync" => options with { Fsync = OneOf(args[i], value, "always", "everysec", "no") },
                "--participants" => options with { Participants = OneOf(args[i], value, "bus", "http") },
                "--bus" => options with { Bus = OneOf(args[i], value, "memory", "rabbitmq") },
                "--rabbitmq" => options with { RabbitMq = value },
                "--shape" => options with { Shape = OneOf(args[i], value, "parallel", "sequential") },
                "--mode" => options with { Mode = OneOf(args[i], value, "ok", "refuse") },
                "--barrier" => options with { Barrier = OneOf(args[i], value, "memory", "file") },
                "--inflight" => options with { InFlight = int.Parse(value) },
                "--seconds" => options with { Seconds = double.Parse(value) },
                "--warmup" => options with { Warmup = double.Parse(value) },
                "--path" => options with { Path = value },
                "--workers" => options with { Workers = int.Parse(value) },
                _ => throw new ArgumentException($"There is no option {args[i]}."),
            };
        }
        return options;
    }

    /// <summary>Chooses the engine's store.</summary>
    public void UseStore(SagasBuilder sagas, string path)
    {
        if (Store == "journal") sagas.UseJournal(System.IO.Path.Combine(path, "journal"));
        else if (Store == "redis") sagas.UseRedis(Redis);
        else sagas.UseMemoryStore();
        if (Workers is { } workers) sagas.Configure(o => o.Workers = workers);
    }

    /// <summary>Chooses the bus between engine and participants.</summary>
    public void UseBus(SagasBuilder sagas)
    {
        if (Bus == "rabbitmq") sagas.UseRabbitMq(o => o.Url = RabbitMq!);
        else sagas.UseInMemoryBus();
    }

    private static string OneOf(string name, string value, params string[] known) =>
        known.Contains(value) ? value : throw new ArgumentException($"{name} is {value}. Use one of {string.Join(", ", known)}.");
}

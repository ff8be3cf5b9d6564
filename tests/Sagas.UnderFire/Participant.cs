using System.Diagnostics;
using System.Diagnostics.Metrics;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Sagas.MassTransit;
using Sagas.Participants;
using Sagas.Redis;

namespace Sagas.UnderFire;

/// <summary>What the processes of a run agree on.</summary>
internal static class Place
{
    public static readonly string[] Participants = ["payer", "house", "payee"], Nodes = ["a", "b"];

    /// <summary>Where a participant really hears. What the engine sends to the participant's own name goes through the detour.</summary>
    public static string Desk(string participant) => participant + "-desk";

    public const int Accounts = 20, Opening = 1_000_000, PoorOpening = 50;

    /// <summary>The first two have little, so that some debits are refused.</summary>
    public static int OpeningOf(int account) => account < 2 ? PoorOpening : Opening;

    /// <summary>An account that takes no credit, so that some are turned back by their last step.</summary>
    public const string Closed = "closed";

    public static string Books(string folder, string participant) => Path.Combine(folder, participant + ".books");

    public static string Tally(string folder, string participant) => Path.Combine(folder, participant + ".tally");

    public static string Peace(string folder) => Path.Combine(folder, "peace");
}

/// <summary>A participant's process.</summary>
internal static class Participant
{
    public static async Task RunAsync(string name, string folder, string rabbit, string redis)
    {
        var builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings());
        builder.Logging.SetMinimumLevel(LogLevel.Warning).AddProvider(new FileLog(Path.Combine(folder, name + ".log")));
        using var tally = new Tally(Place.Tally(folder, name));
        builder.Services.AddSingleton(tally).AddSingleton(new Misfortune(folder, tally));
        builder.Services.AddSagaParticipants(p =>
        {
            if (name == "payer") p.Add<Payer>(Place.Desk(name));
            else if (name == "house") p.Add<House>(Place.Desk(name));
            else p.Add<Payee>(Place.Desk(name));
            // One keeps its notes beside its data in Redis and writes both in one piece; the others have files.
            if (name == "payee") p.UseRedisBarrier(o => (o.Connection, o.Prefix) = (redis, "payee"));
            else p.UseFileBarrier(Path.Combine(folder, name + ".barrier"));
            p.UseRabbitMq(o => (o.Url, o.Queues) = (rabbit, QueueKind.Classic));
        });
        builder.Services.AddSingleton(_ => new FileBooks(Place.Books(folder, name)));
        using var answers = new MeterListener();
        answers.InstrumentPublished = (instrument, listener) =>
        {
            if (instrument.Name == "sagas.participant.items") listener.EnableMeasurementEvents(instrument);
        };
        answers.SetMeasurementEventCallback<long>((_, _, tags, _) =>
        {
            foreach (var tag in tags)
                if (tag is { Key: "outcome", Value: "ok" or "refused" }) tally.Add(Count.Answered);
        });
        answers.Start();
        using var host = builder.Build();
        await host.StartAsync();
        Console.WriteLine("ready");
        await host.WaitForShutdownAsync();
    }
}

/// <summary>What goes wrong in a participant itself, until there is peace.</summary>
internal sealed class Misfortune(string folder, Tally tally)
{
    /// <summary>Carries out one call. True: the effect is new; false: it was there.</summary>
    public async Task CallAsync(Func<Task<bool>> effect)
    {
        var fate = File.Exists(Place.Peace(folder)) ? 1 : Random.Shared.NextDouble();
        if (fate < 0.01) throw Failing("before");
        if (fate is >= 0.02 and < 0.03)
        {
            tally.Add(Count.Slow);
            await Task.Delay(Random.Shared.Next(2500, 5000), CancellationToken.None);
        }
        bool isNew;
        try
        {
            isNew = await effect();
        }
        catch (RefusedException)
        {
            tally.Add(Count.Handled);
            throw;
        }
        if (!isNew) tally.Add(Count.Recognised);
        if (fate is >= 0.01 and < 0.02) throw Failing("after");
        if (fate is >= 0.03 and < 0.031)
        {
            tally.Add(Count.Crashed);
            Process.GetCurrentProcess().Kill();
        }
        tally.Add(Count.Handled);
    }

    private IOException Failing(string when)
    {
        tally.Add(Count.Failed);
        return new IOException($"Out of luck, {when} the effect.");
    }
}

/// <summary>Holds money, and takes it or gives it back.</summary>
internal sealed class Payer : ITccHandler<Debit, Held>
{
    private readonly Dictionary<string, int> _free = [];
    private readonly FileBooks _books;
    private readonly Misfortune _misfortune;

    public Payer(FileBooks books, Misfortune misfortune)
    {
        (_books, _misfortune) = (books, misfortune);
        for (var i = 0; i < Place.Accounts; i++) _free[$"a{i}"] = Place.OpeningOf(i);
        books.Open(entry => _free[entry.Account] += entry.Phase switch { "try" => -entry.Amount, "cancel" => entry.Amount, _ => 0 });
    }

    public async Task<Held> TryAsync(Debit command, CommandContext context, CancellationToken cancel)
    {
        await _misfortune.CallAsync(() => _books.OnceAsync(context, () => _free[command.Account] >= command.Amount ? (command.Account, command.Amount)
            : throw new RefusedException("no-money", $"There is too little on {command.Account}.")));
        return new Held(command.Account, command.Amount);
    }

    public Task ConfirmAsync(Debit command, Held? reservation, CommandContext context, CancellationToken cancel) =>
        _misfortune.CallAsync(() => _books.OnceAsync(context, () => (command.Account, command.Amount)));

    // The try's answer may have been lost, and the try with it: nothing is given back that is not held.
    public Task CancelAsync(Debit command, Held? reservation, CommandContext context, CancellationToken cancel) =>
        _misfortune.CallAsync(() => _books.OnceAsync(context, () => (command.Account, _books.Find(context, Phase.Try)?.Amount ?? 0)));
}

/// <summary>Takes the fee, and returns it.</summary>
internal sealed class House : IStepHandler<Charge, Held>, IStepHandler<Refund>
{
    private readonly FileBooks _books;
    private readonly Misfortune _misfortune;

    public House(FileBooks books, Misfortune misfortune)
    {
        (_books, _misfortune) = (books, misfortune);
        books.Open(static _ => { });
    }

    public async Task<Held> HandleAsync(Charge command, CommandContext context, CancellationToken cancel)
    {
        await _misfortune.CallAsync(() => _books.OnceAsync(context, () => (command.Account, command.Amount)));
        return new Held(command.Account, command.Amount);
    }

    public Task HandleAsync(Refund command, CommandContext context, CancellationToken cancel) =>
        _misfortune.CallAsync(() => _books.OnceAsync(context, () => (command.Account, command.Amount)));
}

/// <summary>Expects money, and books it or lets it go. Its books are in Redis.</summary>
internal sealed class Payee(RedisEffects effects, Misfortune misfortune) : ITccHandler<Credit, Held>
{
    public const string Books = "payee:books", Balances = "payee:balances";

    // Redis' own clock says when, so that no effect seems older than it is.
    private const string Note = """
        local now = redis.call('TIME')
        redis.call('RPUSH', KEYS[1], (string.gsub(ARGV[1], '"at":0', '"at":' .. now[1] .. string.format('%06d', now[2]))))

        """;

    public async Task<Held> TryAsync(Credit command, CommandContext context, CancellationToken cancel)
    {
        var lua = command.Account == Place.Closed ? "return refuse('account-closed', 'This account takes no money.')" : Note;
        await misfortune.CallAsync(() => ApplyAsync(lua, command, context));
        return new Held(command.Account, command.Amount);
    }

    public Task ConfirmAsync(Credit command, Held? reservation, CommandContext context, CancellationToken cancel) =>
        misfortune.CallAsync(() => ApplyAsync(Note + "redis.call('HINCRBY', KEYS[2], ARGV[2], ARGV[3])", command, context));

    public Task CancelAsync(Credit command, Held? reservation, CommandContext context, CancellationToken cancel) =>
        misfortune.CallAsync(() => ApplyAsync(Note, command, context));

    private async Task<bool> ApplyAsync(string lua, Credit command, CommandContext context)
    {
        var entry = new Entry(0, context.Saga, context.Step, context.Phase.Word(), command.Account, command.Amount);
        await effects.ApplyAsync(context, lua, [Books, Balances], entry.ToString(), command.Account, command.Amount);
        return true;
    }
}

/// <summary>What a process logs, in a file that outlives it.</summary>
internal sealed class FileLog(string path) : ILoggerProvider, ILogger
{
    private readonly StreamWriter _file = new(new FileStream(path, FileMode.Append, FileAccess.Write, FileShare.ReadWrite)) { AutoFlush = true };

    public ILogger CreateLogger(string categoryName) => this;

    public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Warning;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        lock (_file) _file.WriteLine($"{DateTime.UtcNow:HH:mm:ss.fff} {logLevel} {formatter(state, exception)} {(logLevel < LogLevel.Critical ? $"{exception?.GetType().Name}: {exception?.Message}" : $"{exception}")}");
    }

    public void Dispose() => _file.Dispose();
}

using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Sagas.Participants;
using Shouldly;

namespace Sagas.Tests.Participants;

public sealed record ReserveSeat(string Flight) : ITryCommand<ReserveSeat, Seat>;

public sealed record Seat(string Id);

public sealed record HoldMoney(int Amount) : ICommand<HoldMoney, Hold>;

public sealed record Hold(string Id);

public sealed record ReleaseMoney(string Id) : ICommand<ReleaseMoney>;

public sealed record CanHold(int Amount) : ICommand<CanHold, bool>;

/// <summary>A handler that does as the test says and notes what it was asked.</summary>
public sealed class Agent : ITccHandler<ReserveSeat, Seat>, IStepHandler<HoldMoney, Hold>, IStepHandler<ReleaseMoney>, IStepHandler<CanHold, bool>
{
    public ConcurrentQueue<string> Calls { get; } = new();
    public Func<CommandContext, CancellationToken, Task<Seat>> Try { get; set; } = (_, _) => Task.FromResult(new Seat("12A"));
    public Func<CommandContext, Task> Confirm { get; set; } = _ => Task.CompletedTask;
    public Func<CommandContext, Task> Cancel { get; set; } = _ => Task.CompletedTask;
    public Func<CommandContext, Task<Hold>> Do { get; set; } = _ => Task.FromResult(new Hold("h1"));
    public Func<CommandContext, Task> Undo { get; set; } = _ => Task.CompletedTask;

    public Task<Seat> TryAsync(ReserveSeat command, CommandContext context, CancellationToken cancel) => Note($"try {command.Flight}", Try(context, cancel));

    public Task ConfirmAsync(ReserveSeat command, Seat? reservation, CommandContext context, CancellationToken cancel) =>
        Note($"confirm {command.Flight} {reservation?.Id ?? "unknown"}", Confirm(context));

    public Task CancelAsync(ReserveSeat command, Seat? reservation, CommandContext context, CancellationToken cancel) =>
        Note($"cancel {command.Flight} {reservation?.Id ?? "unknown"}", Cancel(context));

    public Task<Hold> HandleAsync(HoldMoney command, CommandContext context, CancellationToken cancel) => Note($"hold {command.Amount}", Do(context));

    public Task HandleAsync(ReleaseMoney command, CommandContext context, CancellationToken cancel) => Note($"release {command.Id}", Undo(context));

    public Task<bool> HandleAsync(CanHold command, CommandContext context, CancellationToken cancel) => Note($"can {command.Amount}", Task.FromResult(command.Amount < 100));

    private T Note<T>(string call, T task)
    {
        Calls.Enqueue(call);
        return task;
    }
}

/// <summary>A participant "agency" with one <see cref="Agent"/>, asked directly, without a bus.</summary>
internal sealed class Desk : IAsyncDisposable
{
    private readonly ServiceProvider _services;
    private readonly ConcurrentDictionary<string, TaskCompletionSource<ReplyItem>> _asked = new();
    private readonly SendReplies _send;
    private int _asks;

    private Desk(Action<ParticipantsBuilder> configure, Agent agent)
    {
        Agent = agent;
        var services = new ServiceCollection().AddSingleton(agent);
        services.AddLogging(log => log.SetMinimumLevel(LogLevel.None));
        services.AddSagaParticipants(p => configure(p.Add<Agent>("agency")));
        _services = services.BuildServiceProvider();
        Host = _services.GetRequiredService<ParticipantHost>();
        _send = (replyTo, batch, _) =>
        {
            _asked[replyTo].SetResult(batch.Items.ShouldHaveSingleItem());
            return Task.CompletedTask;
        };
    }

    public Agent Agent { get; }
    public ParticipantHost Host { get; }
    public IServiceProvider Services => _services;

    public static async Task<Desk> OpenAsync(Action<ParticipantsBuilder> configure, Agent? agent = null)
    {
        var desk = new Desk(configure, agent ?? new Agent());
        await desk.Host.StartAsync(default);
        return desk;
    }

    public Task<ReplyItem> TryAsync(int attempt = 1) => AskAsync(Phase.Try, "reserve-seat", """{"flight":"LH1"}""", attempt);
    public Task<ReplyItem> ConfirmAsync(string result = """{"id":"12A"}""") => AskAsync(Phase.Confirm, "reserve-seat", $$"""{"command":{"flight":"LH1"},"result":{{result}}}""");
    public Task<ReplyItem> CancelAsync(string result = "null") => AskAsync(Phase.Cancel, "reserve-seat", $$"""{"command":{"flight":"LH1"},"result":{{result}}}""");
    public Task<ReplyItem> DoAsync(int attempt = 1) => AskAsync(Phase.Do, "hold-money", """{"amount":7}""", attempt);
    public Task<ReplyItem> CompensateAsync(string payload = """{"id":"h1"}""") => AskAsync(Phase.Compensate, "release-money", payload);

    public async Task<ReplyItem> AskAsync(Phase phase, string command, string payload, int attempt = 1, string saga = "s1", TimeSpan? within = null)
    {
        var replyTo = "r" + Interlocked.Increment(ref _asks);
        var reply = _asked[replyTo] = new TaskCompletionSource<ReplyItem>(TaskCreationOptions.RunContinuationsAsynchronously);
        var step = phase is Phase.Try or Phase.Confirm or Phase.Cancel ? "seat" : "money";
        await Host.AcceptAsync("agency", new CommandBatch([new CommandItem(saga, step, phase, attempt, command, Wire.Key(saga, step, phase), Payload.Parse(payload),
            DateTimeOffset.UtcNow + (within ?? TimeSpan.FromSeconds(30)), replyTo, null)]), _send);
        return await reply.Task.WaitAsync(TimeSpan.FromSeconds(20));
    }

    public void ShouldHaveCalled(params string[] calls) => Agent.Calls.ShouldBe(calls);

    public ValueTask DisposeAsync() => _services.DisposeAsync();
}

internal static class ReplyAssertions
{
    public static void ShouldBeOk(this ReplyItem reply, string? payload = null, Phase? phase = null)
    {
        reply.Outcome.ShouldBe(Outcome.Ok, reply.Message);
        if (payload is not null) reply.Payload!.ToString().ShouldBe(payload);
        if (phase is not null) reply.Phase.ShouldBe(phase.Value);
    }

    public static void ShouldBe(this ReplyItem reply, Outcome outcome, string code, [CallerArgumentExpression(nameof(reply))] string? what = null)
    {
        reply.Outcome.ShouldBe(outcome, what);
        reply.Code.ShouldBe(code);
        reply.Message.ShouldNotBeNullOrEmpty();
    }
}

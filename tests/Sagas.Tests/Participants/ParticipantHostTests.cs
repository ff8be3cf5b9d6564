using System.Collections.Concurrent;
using System.Diagnostics;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Sagas.Participants;
using Shouldly;
using Xunit;

namespace Sagas.Tests.Participants;

public sealed class ParticipantHostTests
{
    private static readonly TimeSpan Soon = TimeSpan.FromSeconds(20);

    [Fact]
    public async Task A_hanging_item_does_not_hold_up_the_others_in_its_envelope()
    {
        var hung = new TaskCompletionSource<Seat>();
        await using var office = await Office.OpenAsync(agent => agent.Try = (context, _) => context.Saga == "s0" ? hung.Task : Task.FromResult(new Seat(context.Saga)));
        await office.SendAsync([.. Enumerable.Range(0, 100).Select(i => Office.Try($"s{i}"))]);
        (await office.RepliesAsync(99)).Select(r => r.Saga).ShouldNotContain("s0");
        hung.SetResult(new Seat("late"));
        (await office.RepliesAsync(100)).ShouldContain(r => r.Saga == "s0");
    }

    [Fact]
    public async Task An_item_that_blocks_its_thread_does_not_hold_up_the_others()
    {
        using var free = new ManualResetEventSlim();
        await using var office = await Office.OpenAsync(agent => agent.Try = (context, _) =>
        {
            if (context.Saga == "s0") free.Wait();
            return Task.FromResult(new Seat(context.Saga));
        });
        await office.SendAsync([.. Enumerable.Range(0, 20).Select(i => Office.Try($"s{i}"))]);
        await office.RepliesAsync(19);
        free.Set();
        await office.RepliesAsync(20);
    }

    [Fact]
    public async Task An_item_that_fails_does_not_fail_the_others()
    {
        await using var office = await Office.OpenAsync(agent => agent.Try = (context, _) => context.Saga == "s0" ? throw new InvalidOperationException("Broken.") : Task.FromResult(new Seat("1")));
        await office.SendAsync([Office.Try("s0"), Office.Try("s1")]);
        var replies = (await office.RepliesAsync(2)).ToDictionary(r => r.Saga);
        replies["s0"].ShouldBe(Outcome.Error, "InvalidOperationException");
        replies["s0"].Message.ShouldBe("Broken.");
        replies["s1"].ShouldBeOk();
    }

    [Fact]
    public async Task That_an_attempt_failed_is_a_warning_once_and_its_repeats_are_not()
    {
        var log = new Levels();
        await using var office = await Office.OpenAsync(agent => agent.Try = (_, _) => throw new InvalidOperationException("Broken."), log: log);
        for (var attempt = 1; attempt <= 3; attempt++)
        {
            await office.SendAsync([Office.Try("s0") with { Attempt = attempt }]);
            await office.RepliesAsync(attempt);
        }
        log.Said.Where(line => line.Text.Contains("failed: InvalidOperationException: Broken.", StringComparison.Ordinal)).Select(line => line.Level)
            .ShouldBe([LogLevel.Warning, LogLevel.Information, LogLevel.Information]);
    }

    [Fact]
    public async Task So_many_items_run_at_a_time_and_no_more_in_order_of_arrival()
    {
        var running = new ConcurrentDictionary<string, TaskCompletionSource<Seat>>();
        await using var office = await Office.OpenAsync(agent => agent.Try = (context, _) => running.GetOrAdd(context.Saga, _ => new()).Task, p => p.WithConcurrency(2));
        await office.SendAsync([.. Enumerable.Range(0, 4).Select(i => Office.Try($"s{i}"))]);
        await office.CallsAsync(2);
        running.Keys.Order().ShouldBe(["s0", "s1"]);
        running["s1"].SetResult(new Seat("1"));
        await office.CallsAsync(3);
        running.Keys.Order().ShouldBe(["s0", "s1", "s2"]);
        foreach (var key in new[] { "s0", "s2" }) running[key].SetResult(new Seat("1"));
        await office.CallsAsync(4);
        running["s3"].SetResult(new Seat("1"));
        await office.RepliesAsync(4);
    }

    [Fact]
    public async Task A_full_participant_takes_no_more_until_there_is_room()
    {
        var answer = new TaskCompletionSource<Seat>(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var office = await Office.OpenAsync(agent => agent.Try = (_, _) => answer.Task, p => p.WithConcurrency(1));
        await office.SendAsync([.. Enumerable.Range(0, 1200).Select(i => Office.Try($"s{i}"))]);
        var next = office.SendAsync([Office.Try("next")]);
        next.IsCompleted.ShouldBeFalse();
        using (var impatient = new CancellationTokenSource())
        {
            var given = office.SendAsync([Office.Try("given up")], impatient.Token);
            await impatient.CancelAsync();
            await Should.ThrowAsync<OperationCanceledException>(given);
        }
        answer.SetResult(new Seat("1"));
        await next.WaitAsync(Soon);
        (await office.RepliesAsync(1201)).ShouldNotContain(r => r.Saga == "given up");
    }

    [Fact]
    public async Task Replies_that_gather_while_one_send_is_out_leave_together()
    {
        var gate = new TaskCompletionSource();
        await using var office = await Office.OpenAsync();
        office.BeforeSend = _ => gate.Task;
        await office.SendAsync([Office.Try("first")]);
        await office.SendingAsync(1);
        await office.SendAsync([.. Enumerable.Range(0, 300).Select(i => Office.Try($"s{i}"))]);
        await office.CallsAsync(301);
        await office.SendAsync([Office.Try("last")]);
        await office.CallsAsync(302);
        office.Batches.Count.ShouldBe(0);
        gate.SetResult();
        await office.RepliesAsync(302);
        office.Batches.Select(b => b.Items.Count).Take(2).ShouldBe([1, 256]);
    }

    [Fact]
    public async Task An_envelope_of_replies_keeps_to_256_KiB()
    {
        var gate = new TaskCompletionSource();
        await using var office = await Office.OpenAsync(agent => agent.Try = (_, _) => Task.FromResult(new Seat(new string('x', 100_000))));
        office.BeforeSend = _ => gate.Task;
        await office.SendAsync([Office.Try("first")]);
        await office.SendingAsync(1);
        await office.SendAsync([.. Enumerable.Range(0, 5).Select(i => Office.Try($"s{i}"))]);
        await office.CallsAsync(6);
        gate.SetResult();
        await office.RepliesAsync(6);
        office.Batches.ShouldAllBe(b => b.Items.Sum(r => r.Payload!.Utf8.Length) <= 256 << 10);
    }

    [Fact]
    public async Task Replies_that_could_not_be_sent_are_sent_again()
    {
        await using var office = await Office.OpenAsync();
        office.BeforeSend = attempt => attempt == 1 ? Task.FromException(new IOException("The bus is away.")) : Task.CompletedTask;
        await office.SendAsync([Office.Try("s0")]);
        (await office.RepliesAsync(1)).ShouldHaveSingleItem().ShouldBeOk();
    }

    [Fact]
    public async Task The_handlers_token_is_cancelled_at_the_deadline()
    {
        await using var desk = await Desk.OpenAsync(p => p.UseMemoryBarrier());
        desk.Agent.Try = async (_, cancel) =>
        {
            await new TaskCompletionSource().Task.WaitAsync(cancel);
            throw new InvalidOperationException();
        };
        var reply = await desk.AskAsync(Phase.Try, "reserve-seat", """{"flight":"LH1"}""", within: TimeSpan.FromMilliseconds(30));
        reply.ShouldBe(Outcome.Error, "TaskCanceledException");
    }

    [Fact]
    public async Task A_handler_that_overstays_its_deadline_gives_its_place_to_another()
    {
        var hung = new TaskCompletionSource<Seat>();
        await using var office = await Office.OpenAsync(agent => agent.Try = (context, _) => context.Saga == "hung" ? hung.Task : Task.FromResult(new Seat("1")), p => p.WithConcurrency(1));
        await office.SendAsync([Office.Try("hung") with { Deadline = DateTimeOffset.UtcNow.AddMilliseconds(30) }, Office.Try("next")]);
        (await office.RepliesAsync(1)).ShouldHaveSingleItem().Saga.ShouldBe("next");
        hung.SetResult(new Seat("1"));
        await office.RepliesAsync(2);
    }

    [Fact]
    public async Task A_command_that_nobody_handles_is_an_error_with_advice()
    {
        await using var desk = await Desk.OpenAsync(p => p.UseMemoryBarrier());
        var unknown = await desk.AskAsync(Phase.Do, "fly", "{}");
        unknown.ShouldBe(Outcome.Error, "unknown-command");
        unknown.Message!.ShouldContain("Participant 'agency' handles no command 'fly'");
        (await desk.AskAsync(Phase.Do, "reserve-seat", "{}")).ShouldBe(Outcome.Error, "unknown-command");
    }

    [Fact]
    public async Task An_envelope_for_a_participant_that_is_not_here_is_not_taken()
    {
        await using var office = await Office.OpenAsync();
        (await Should.ThrowAsync<ArgumentException>(async () => await office.Host.AcceptAsync("elsewhere", new CommandBatch([]), (_, _, _) => Task.CompletedTask)))
            .Message.ShouldContain("There is no participant 'elsewhere'");
    }

    [Fact]
    public async Task A_stop_lets_end_what_runs_and_sends_its_reply()
    {
        var answer = new TaskCompletionSource<Seat>(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var office = await Office.OpenAsync(agent => agent.Try = (_, _) => answer.Task);
        await office.SendAsync([Office.Try("s0")]);
        await office.CallsAsync(1);
        var stopping = office.Host.StopAsync(default);
        stopping.IsCompleted.ShouldBeFalse();
        await office.SendAsync([Office.Try("too late")]);
        answer.SetResult(new Seat("1"));
        await stopping.WaitAsync(Soon);
        office.Batches.ShouldHaveSingleItem().Items.ShouldHaveSingleItem().Saga.ShouldBe("s0");
    }

    [Fact]
    public async Task A_stop_does_not_wait_for_ever()
    {
        await using var office = await Office.OpenAsync(agent => agent.Try = (_, _) => new TaskCompletionSource<Seat>().Task);
        await office.SendAsync([Office.Try("s0")]);
        await office.CallsAsync(1);
        using var impatient = new CancellationTokenSource();
        var stopping = office.Host.StopAsync(impatient.Token);
        await impatient.CancelAsync();
        await stopping.WaitAsync(Soon);
    }

    [Fact]
    public async Task The_trace_of_the_command_goes_on_in_the_handler()
    {
        using var listener = new ActivityListener { ShouldListenTo = source => source.Name == "Sagas", Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllData };
        ActivitySource.AddActivityListener(listener);
        string? seen = null;
        await using var office = await Office.OpenAsync(agent => agent.Try = (_, _) =>
        {
            seen = Activity.Current?.TraceId.ToString();
            return Task.FromResult(new Seat("1"));
        });
        await office.SendAsync([Office.Try("s0") with { TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" }]);
        await office.RepliesAsync(1);
        seen.ShouldBe("0af7651916cd43dd8448eb211c80319c");
    }

    private sealed class Levels : ILoggerProvider, ILogger
    {
        public ConcurrentQueue<(LogLevel Level, string Text)> Said { get; } = new();

        public ILogger CreateLogger(string categoryName) => this;
        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;
        public bool IsEnabled(LogLevel logLevel) => true;
        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) => Said.Enqueue((logLevel, formatter(state, exception)));
        public void Dispose() { }
    }

    /// <summary>An <see cref="Agent"/> as participant "agency", with a look at the envelopes of replies.</summary>
    private sealed class Office : IAsyncDisposable
    {
        private readonly ServiceProvider _services;
        private readonly Agent _agent = new();
        private readonly SendReplies _send;
        private int _sending;

        private Office(Action<Agent>? script, Action<ParticipantsBuilder>? configure, ILoggerProvider? log)
        {
            script?.Invoke(_agent);
            var services = new ServiceCollection().AddSingleton(_agent);
            services.AddLogging(logging => { if (log is null) logging.SetMinimumLevel(LogLevel.None); else logging.AddProvider(log); });
            services.AddSagaParticipants(p =>
            {
                p.Add<Agent>("agency");
                configure?.Invoke(p);
            });
            _services = services.BuildServiceProvider();
            Host = _services.GetRequiredService<ParticipantHost>();
            _send = async (_, batch, _) =>
            {
                await BeforeSend(Interlocked.Increment(ref _sending));
                Batches.Enqueue(batch);
            };
        }

        public ParticipantHost Host { get; }
        public ConcurrentQueue<ReplyBatch> Batches { get; } = new();
        public Func<int, Task> BeforeSend { get; set; } = _ => Task.CompletedTask;

        public static CommandItem Try(string saga) =>
            new(saga, "seat", Phase.Try, 1, "reserve-seat", Wire.Key(saga, "seat", Phase.Try), Payload.Parse($$"""{"flight":"{{saga}}"}"""), null, "replies", null);

        public static async Task<Office> OpenAsync(Action<Agent>? script = null, Action<ParticipantsBuilder>? configure = null, ILoggerProvider? log = null)
        {
            var office = new Office(script, configure, log);
            await office.Host.StartAsync(default);
            return office;
        }

        public Task SendAsync(CommandItem[] items, CancellationToken cancel = default) => Host.AcceptAsync("agency", new CommandBatch(items), _send, cancel).AsTask();

        public async Task<ReplyItem[]> RepliesAsync(int count)
        {
            await UntilAsync(() => Batches.Sum(b => b.Items.Count) >= count);
            return [.. Batches.SelectMany(b => b.Items)];
        }

        public Task CallsAsync(int count) => UntilAsync(() => _agent.Calls.Count >= count);

        public Task SendingAsync(int count) => UntilAsync(() => Volatile.Read(ref _sending) >= count);

        public ValueTask DisposeAsync() => _services.DisposeAsync();

        private static async Task UntilAsync(Func<bool> holds)
        {
            for (var patience = Stopwatch.StartNew(); !holds(); await Task.Yield())
                if (patience.Elapsed > Soon) throw new TimeoutException("It did not come to that.");
        }
    }
}

using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using Microsoft.Extensions.Logging;
using Sagas.Runtime;
using Shouldly;
using Xunit;

namespace Sagas.Tests.Runtime;

/// <summary>What becomes of commands that nobody takes.</summary>
public sealed class OutboxTests
{
    [Fact]
    public async Task Commands_that_find_no_room_are_counted_and_told_once_until_there_is_room()
    {
        var (bus, log, time, leftOut) = (new StuckBus(), new Lines(), new ManualTime(), 0L);
        using var meter = new MeterListener { InstrumentPublished = (instrument, self) => { if (instrument.Name == "sagas.commands.left_out") self.EnableMeasurementEvents(instrument); } };
        meter.SetMeasurementEventCallback<long>((_, count, tags, _) => { if (tags[0].Value is "crowded") Interlocked.Add(ref leftOut, count); });
        meter.Start();
        using var http = new HttpTransportOwner(time, log);
        var outbox = new Outbox(bus, http.Transport, time, log);

        Send();                                                        // on its way, and held up there
        await bus.Begun.Task.WaitAsync(TimeSpan.FromSeconds(30));
        for (var i = 0; i < LaneLimit.Most + 3; i++) Send();
        leftOut.ShouldBe(3);
        log.Said.ShouldHaveSingleItem().ShouldContain("100000 commands wait for crowded, and no more are queued");

        bus.Open.SetResult();
        while (outbox.Depths.Single(lane => lane.Destination == "crowded").Depth > 0) await Task.Yield();
        Send();
        log.Said.Last().ShouldBe("Commands to crowded are queued again; 3 were left out meanwhile, and are asked again.");
        log.Said.Count.ShouldBe(2);
        await outbox.DrainAsync(TimeSpan.FromSeconds(10));
        bus.Sent.ShouldBe(LaneLimit.Most + 2);

        void Send() => outbox.Send(new SagaState { Id = new SagaId("s1"), Definition = "web", DefinitionVersion = 1, Input = Payload.Null },
            new Effect.Send("seat", new BusEndpoint("crowded", "reserve-seat"), Phase.Try, 1, Payload.Null, time.GetUtcNow().AddHours(1)));
    }

    private sealed class HttpTransportOwner(TimeProvider time, ILogger log) : IDisposable
    {
        public HttpTransport Transport { get; } = new(new SagasOptions(), _ => null, (_, _, _) => ValueTask.CompletedTask, time, log);

        public void Dispose() => Transport.Stop();
    }

    private sealed class StuckBus : ITransport
    {
        private int _sent;

        public TaskCompletionSource Begun { get; } = new();
        public TaskCompletionSource Open { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
        public int Sent => _sent;
        public string ReplyTo => "here";

        public async Task SendAsync(string participant, CommandBatch batch, CancellationToken cancel)
        {
            Begun.TrySetResult();
            await Open.Task.WaitAsync(cancel);
            Interlocked.Add(ref _sent, batch.Items.Count);
        }
    }

    private sealed class Lines : ILogger
    {
        public ConcurrentQueue<string> Said { get; } = new();

        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;
        public bool IsEnabled(LogLevel logLevel) => true;
        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) => Said.Enqueue(formatter(state, exception));
    }
}

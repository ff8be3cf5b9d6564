using System.Diagnostics;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Sagas.MassTransit;
using Sagas.Participants;
using Sagas.Runtime;
using Shouldly;
using Xunit;

namespace Sagas.Tests.MassTransit;

/// <summary>P13: one sick participant does not slow the others. The whole engine on the in-memory bus.</summary>
public sealed class SickParticipantTests(ITestOutputHelper output)
{
    private const int Sick = 3_000, Well = 300;
    private static readonly TimeSpan Soon = TimeSpan.FromSeconds(20);

    [Fact]
    public async Task Sagas_of_others_end_as_fast_while_thousands_hang_at_one_participant()
    {
        var patience = new Patience();
        var builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings());
        builder.Services.AddSingleton(patience);
        builder.Services.AddSagas(s => s.AddSaga<GoToWard>().AddSaga<GoToGym>().UseMemoryStore().UseInMemoryBus());
        builder.Services.AddSagaParticipants(p => p.Add<Ward>("ward").Add<Gym>("gym").UseInMemoryBus());
        using var host = builder.Build();
        await host.StartAsync();
        var engine = host.Services.GetRequiredService<SagaEngine>();
        await GymMedianAsync(engine, "warm-up");

        var alone = await GymMedianAsync(engine, "alone");
        var sick = await Task.WhenAll(Enumerable.Range(0, Sick).Select(i => engine.StartAsync("go-to-ward", new Visitor($"s{i}"), new SagaId($"sick-{i}")).AsTask()));
        sick.ShouldAllBe(start => start.Outcome == StartOutcome.Started);
        await patience.Hung.Task.WaitAsync(Soon);
        var beside = await GymMedianAsync(engine, "beside");

        output.WriteLine($"Median of {Well} sagas, 8 at a time: alone {alone.TotalMilliseconds:0.0} ms, beside {Sick} that hang {beside.TotalMilliseconds:0.0} ms.");
        (await engine.FindAsync(new SagaId("sick-0")))!.Course.ShouldBe(SagaStatus.Running);
        // Far from what holding up would cost (a hung attempt lasts 60 s), and far from what a loaded machine does to a median.
        beside.ShouldBeLessThan(alone + TimeSpan.FromMilliseconds(500));
        patience.Over.SetResult();
        await host.StopAsync();
    }

    private static async Task<TimeSpan> GymMedianAsync(SagaEngine engine, string name)
    {
        var times = new TimeSpan[Well];
        await Parallel.ForEachAsync(Enumerable.Range(0, Well), new ParallelOptions { MaxDegreeOfParallelism = 8 }, async (i, cancel) =>
        {
            var id = new SagaId($"{name}-{i}");
            var begun = Stopwatch.GetTimestamp();
            await engine.StartAsync("go-to-gym", new Visitor(id.Value), id, cancel);
            (await engine.WaitAsync(id, Soon, cancel))!.Course.ShouldBe(SagaStatus.Completed);
            times[i] = Stopwatch.GetElapsedTime(begun);
        });
        return times.Order().ElementAt(Well / 2);
    }

    internal sealed record Visitor(string Name);
    internal sealed record Bed(string Name) : ITryCommand<Bed, Place>;
    internal sealed record Locker(string Name) : ITryCommand<Locker, Place>;
    internal sealed record Place(string Id);

    [Saga("go-to-ward")]
    internal sealed class GoToWard : Saga<Visitor, Place>
    {
        protected override SagaEnd<Place> Define(Flow<Visitor> saga)
        {
            var bed = saga.Tcc(c => new Bed(c.Input.Name)).Timeout(60.Seconds());
            return saga.Complete(c => c.Get(bed));
        }
    }

    [Saga("go-to-gym")]
    internal sealed class GoToGym : Saga<Visitor, Place>
    {
        protected override SagaEnd<Place> Define(Flow<Visitor> saga)
        {
            var locker = saga.Tcc(c => new Locker(c.Input.Name));
            return saga.Complete(c => c.Get(locker));
        }
    }

    internal sealed class Patience
    {
        public TaskCompletionSource Hung { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
        public TaskCompletionSource Over { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }

    internal sealed class Ward(Patience patience) : ITccHandler<Bed, Place>
    {
        public async Task<Place> TryAsync(Bed command, CommandContext context, CancellationToken cancel)
        {
            patience.Hung.TrySetResult();
            await patience.Over.Task.WaitAsync(cancel);
            return new Place(command.Name);
        }

        public Task ConfirmAsync(Bed command, Place? reservation, CommandContext context, CancellationToken cancel) => Task.CompletedTask;

        public Task CancelAsync(Bed command, Place? reservation, CommandContext context, CancellationToken cancel) => Task.CompletedTask;
    }

    internal sealed class Gym : ITccHandler<Locker, Place>
    {
        public Task<Place> TryAsync(Locker command, CommandContext context, CancellationToken cancel) => Task.FromResult(new Place(command.Name));

        public Task ConfirmAsync(Locker command, Place? reservation, CommandContext context, CancellationToken cancel) => Task.CompletedTask;

        public Task CancelAsync(Locker command, Place? reservation, CommandContext context, CancellationToken cancel) => Task.CompletedTask;
    }
}

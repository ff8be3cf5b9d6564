using Microsoft.Extensions.DependencyInjection;
using Sagas.Participants;
using Shouldly;
using Xunit;

namespace Sagas.Tests.Participants;

public sealed class RegistrationTests
{
    [Fact]
    public void All_faults_are_told_at_once()
    {
        var error = Should.Throw<ParticipantsException>(() => new ServiceCollection().AddSagaParticipants(p => p
            .Add<Agent>("no such name!")
            .Add<object>("idle")
            .Add<Agent>("agency")
            .Add<Teller>("agency")
            .WithConcurrency(0)));
        error.Faults.Count.ShouldBe(4);
        error.Message.ShouldStartWith("4 faults in participants:");
        error.Message.ShouldContain("'no such name!' cannot name a participant. Use 1 to 64 of A-Z a-z 0-9 _ -.");
        error.Message.ShouldContain("Object handles no command. Implement ITccHandler");
        error.Message.ShouldContain("Agent and Teller both handle command 'hold-money' of participant 'agency'.");
        error.Message.ShouldContain("A concurrency of 0 cannot be.");
    }

    [Fact]
    public void An_engine_in_the_same_process_learns_the_routes()
    {
        var services = new ServiceCollection();
        services.AddSagaParticipants(p => p.Add<Agent>("agency").Add<Teller>("bank"));
        using var provider = services.BuildServiceProvider();
        provider.GetServices<CommandRoute>().ShouldBe(
        [
            new CommandRoute("reserve-seat", "agency"), new CommandRoute("hold-money", "agency"), new CommandRoute("release-money", "agency"),
            new CommandRoute("can-hold", "agency"), new CommandRoute("hold-money", "bank"),
        ], ignoreOrder: true);
    }

    [Fact]
    public void Participants_may_be_added_in_several_places()
    {
        var services = new ServiceCollection();
        services.AddSagaParticipants(p => p.Add<Agent>("agency"));
        services.AddSagaParticipants(p => p.Add<Teller>("bank").Add<Porter>("agency"));
        using var provider = services.BuildServiceProvider();
        provider.GetRequiredService<ParticipantHost>().Participants.ShouldBe(["agency", "bank"], ignoreOrder: true);
        Should.Throw<ParticipantsException>(() => services.AddSagaParticipants(p => p.Add<Agent>("agency"))).Message.ShouldContain("twice");
    }

    [Fact]
    public async Task A_scoped_handler_gets_a_scope_for_each_item_and_a_singleton_is_shared()
    {
        var services = new ServiceCollection().AddScoped<Unit>().AddScoped<Porter>();
        services.AddLogging();
        services.AddSagaParticipants(p => p.Add<Porter>("hotel"));
        await using var provider = services.BuildServiceProvider(new ServiceProviderOptions { ValidateScopes = true });
        var host = provider.GetRequiredService<ParticipantHost>();
        await host.StartAsync(default);
        var answers = new List<string>();
        for (var i = 0; i < 2; i++)
        {
            var answered = new TaskCompletionSource<ReplyItem>(TaskCreationOptions.RunContinuationsAsynchronously);
            await host.AcceptAsync("hotel", new CommandBatch([new CommandItem($"s{i}", "carry", Phase.Do, 1, "carry", "k", Payload.Parse("{}"), null, "r", null)]), (_, batch, _) =>
            {
                answered.SetResult(batch.Items[0]);
                return Task.CompletedTask;
            });
            var reply = await answered.Task;
            reply.ShouldBeOk();
            answers.Add(reply.Payload!.ToString());
        }
        answers.Distinct().Count().ShouldBe(2);
        Unit.Disposed.ShouldBe(2);
    }

    public sealed class Teller : IStepHandler<HoldMoney, Hold>
    {
        public Task<Hold> HandleAsync(HoldMoney command, CommandContext context, CancellationToken cancel) => Task.FromResult(new Hold("t"));
    }

    public sealed record Carry : ICommand<Carry, Guid>;

    public sealed class Porter(Unit? unit = null) : IStepHandler<Carry, Guid>
    {
        public Task<Guid> HandleAsync(Carry command, CommandContext context, CancellationToken cancel) => Task.FromResult(unit!.Id);
    }

    public sealed class Unit : IDisposable
    {
        private static int _disposed;

        public static int Disposed => _disposed;

        public Guid Id { get; } = Guid.NewGuid();

        public void Dispose() => Interlocked.Increment(ref _disposed);
    }
}

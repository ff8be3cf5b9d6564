using System.Text;
using Microsoft.Extensions.DependencyInjection;
using Sagas.Runtime;
using Shouldly;
using Xunit;

namespace Sagas.Tests.AspNetCore;

/// <summary>What an operator sees and does at the bus.</summary>
public sealed class BusTests
{
    [Fact]
    public async Task Within_one_process_there_are_no_queues_and_no_dead_letters()
    {
        await using var api = await ApiHost.StartAsync();
        await api.Post("/api/v1/definitions/reserve/sagas?wait=5");
        (await api.Get("/api/v1/bus")).Text.ShouldBe("""{"bus":"in-process","status":"good","detail":null,"outgoing":[{"destination":"seats","waiting":0}],"queues":[]}""");
        (await api.Get("/api/v1/deadletters")).Text.ShouldBe("""{"kept":false,"count":0,"items":[]}""");
        var replay = await api.Post("/api/v1/deadletters/x/replay", """{"reason":"try"}""");
        (replay.Status, replay.At("type")).ShouldBe((404, "urn:sagas:unknown-dead-letter"));
    }

    [Fact]
    public async Task Queues_are_those_of_the_participants_that_definitions_name()
    {
        var bus = new Bus();
        await using var api = await OpenAsync(bus);
        var seen = await api.Get("/api/v1/bus");
        (seen.At("bus"), seen.At("status")).ShouldBe(("paper", "good"));
        seen.At("queues").ShouldBe("""[{"name":"money","messages":3,"consumers":0},{"name":"post","messages":3,"consumers":0},{"name":"rooms","messages":3,"consumers":0},{"name":"seats","messages":3,"consumers":0}]""");
    }

    [Fact]
    public async Task A_bus_that_does_not_answer_is_told_and_the_call_does_not_fail()
    {
        var bus = new Bus { Broken = "The post is on strike." };
        await using var api = await OpenAsync(bus);
        var seen = await api.Get("/api/v1/bus");
        (seen.Status, seen.At("status"), seen.At("detail"), seen.At("queues")).ShouldBe((200, "held", "The post is on strike.", "[]"));
        var letters = await api.Get("/api/v1/deadletters");
        (letters.Status, letters.At("type"), letters.At("detail"), letters.Header("Retry-After")).ShouldBe((503, "urn:sagas:bus-unavailable", "The post is on strike.", "5"));
        (await api.Post("/api/v1/deadletters/1/replay", """{"reason":"mended"}""")).Status.ShouldBe(503);
    }

    [Fact]
    public async Task Dead_letters_are_listed_replayed_and_discarded_with_a_reason()
    {
        var bus = new Bus();
        await using var api = await OpenAsync(bus);
        (await api.Get("/api/v1/deadletters?limit=1")).Text.ShouldBe("""{"kept":true,"count":2,"items":[{"id":"1","queue":"seats","at":"2026-11-21T12:00:00.000Z","reason":"no JSON","bytes":4,"body":"oh\u0001�"}]}""");
        (await api.Get("/api/v1/deadletters?limit=0")).Status.ShouldBe(400);
        (await api.Post("/api/v1/deadletters/1/replay", "{}")).At("type").ShouldBe("urn:sagas:reason-required");
        (await api.Post("/api/v1/deadletters/1/replay", """{"reason":"mended"}""")).Status.ShouldBe(202);
        (await api.Post("/api/v1/deadletters/1/replay", """{"reason":"mended"}""")).Status.ShouldBe(404);
        (await api.Post("/api/v1/deadletters/2/discard", """{"reason":"spam"}""")).Text.ShouldBe("""{"id":"2"}""");
        bus.Did.ShouldBe(["replay 1", "discard 2"]);
    }

    private static Task<ApiHost> OpenAsync(Bus bus) => ApiHost.StartAsync(services: services => services.AddSingleton<IDeadLetters>(bus).AddSingleton<IBusMonitor>(bus));

    private sealed class Bus : IDeadLetters, IBusMonitor
    {
        private readonly List<DeadLetter> _letters =
        [
            new("1", "seats", new DateTimeOffset(2026, 11, 21, 12, 0, 0, TimeSpan.Zero), "no JSON", new byte[] { (byte)'o', (byte)'h', 1, 0xFF }),
            new("2", "rooms", new DateTimeOffset(2026, 11, 21, 12, 1, 0, TimeSpan.Zero), "no items", Encoding.UTF8.GetBytes("{}")),
        ];

        public List<string> Did { get; } = [];
        public string? Broken { get; init; }
        public string Name => "paper";
        public string? Fault => null;

        public Task<IReadOnlyList<BusQueue>> QueuesAsync(IEnumerable<string> participants, CancellationToken cancel) => Broken is null
            ? Task.FromResult<IReadOnlyList<BusQueue>>([.. participants.Select(name => new BusQueue(name, 3, 0))]) : throw new BusUnavailableException(Broken);

        public Task<DeadLetterPage> ListAsync(int limit, CancellationToken cancel) => Broken is null
            ? Task.FromResult(new DeadLetterPage(_letters.Count, [.. _letters.Take(limit)])) : throw new BusUnavailableException(Broken);

        public Task<bool> ReplayAsync(string id, CancellationToken cancel) => Take("replay", id);

        public Task<bool> DiscardAsync(string id, CancellationToken cancel) => Take("discard", id);

        private Task<bool> Take(string word, string id)
        {
            if (Broken is not null) throw new BusUnavailableException(Broken);
            if (_letters.RemoveAll(letter => letter.Id == id) == 0) return Task.FromResult(false);
            Did.Add($"{word} {id}");
            return Task.FromResult(true);
        }
    }
}

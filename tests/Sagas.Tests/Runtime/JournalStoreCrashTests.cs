using Sagas.Testing.Simulator;
using System.Text;
using Sagas.Journal;
using Sagas.Runtime;
using Shouldly;
using Xunit;

namespace Sagas.Tests.Runtime;

/// <summary>The journal store on a simulated disk that fails, tears and forgets.</summary>
public sealed class JournalStoreCrashTests
{
    [Fact]
    public async Task Reopening_gives_the_same_sagas_histories_and_listings()
    {
        var (disk, world) = (new SimulatedDisk(), new StoreWorld());
        for (var life = 0; life < 5; life++)
        {
            var store = await world.OpenAsync(disk, $"life {life}");
            await WorkAsync(world, store, new Random(life), 40);
            await store.DisposeAsync();
        }

        await (await world.OpenAsync(disk)).DisposeAsync();
    }

    [Fact]
    public async Task However_short_the_file_is_cut_every_commit_before_the_cut_is_there_and_none_in_half()
    {
        // Without preallocation the file ends with its last record, so that a cut is what a crash can leave.
        var options = new JournalStoreOptions { Path = "/data/store", SegmentBytes = 1 << 16, ReserveBytes = 0, Preallocate = false };
        var (disk, world) = (new SimulatedDisk(), new StoreWorld { Options = options });
        var path = Path.Combine(options.Path, "000000000001.segment");
        var store = await world.OpenAsync(disk);
        var start = world.Start();
        SagaCommit[] commits = [start, start.Confirm(), world.Start(), start.Confirm().End(), world.Start(300)];
        List<int> ends = [disk[path].Length];
        foreach (var commit in commits)
        {
            await store.CommitAsync(commit);
            ends.Add(disk[path].Length);
        }

        var bytes = disk[path];
        for (var cut = ends[0]; cut <= ends[^1]; cut++)
        {
            var after = disk.Clone();
            after[path] = bytes[..cut];
            await using var reopened = new JournalStore(options, TimeSpan.FromDays(1), world.Time, after);
            await reopened.OpenAsync(default);
            var kept = ends.Count(end => end <= cut) - 1;
            var expected = commits.Take(kept).GroupBy(static commit => commit.State.Id).ToDictionary(static saga => saga.Key, static saga => saga.ToArray());
            foreach (var id in commits.Select(static commit => commit.State.Id).Distinct())
            {
                (await reopened.FindAsync(id, default)).Text().ShouldBe(expected.TryGetValue(id, out var versions) ? versions[^1].State.Text() : "none", $"cut at {cut}");
                (await reopened.HistoryAsync(id, 0, 100, default)).ShouldBe(versions?.SelectMany(static commit => commit.History), $"cut at {cut}");
            }
        }

        await store.DisposeAsync();
    }

    [Fact]
    public async Task A_flipped_byte_in_the_middle_is_refused_with_file_and_offset()
    {
        var (disk, world) = (new SimulatedDisk(), new StoreWorld());
        var store = await world.OpenAsync(disk);
        await WorkAsync(world, store, new Random(1), 12);
        await store.DisposeAsync();
        var path = disk.Paths.First(static path => path.EndsWith(".segment", StringComparison.Ordinal));
        var at = disk[path].AsSpan().IndexOf(Encoding.UTF8.GetBytes("\"seat\""));
        disk[path][at] ^= 1;
        await using var refused = world.Store(disk);
        var error = await Should.ThrowAsync<JournalCorruptException>(async () => await refused.OpenAsync(default));
        error.File.ShouldBe(path);
        error.Offset.ShouldBeInRange(0, at);
        error.Message.ShouldContain("Restore");
        refused.Health.Level.ShouldBe(StoreLevel.Down);
    }

    [Fact]
    public async Task A_second_store_is_locked_out_until_the_first_has_closed()
    {
        var (disk, world) = (new SimulatedDisk(), new StoreWorld());
        var store = await world.OpenAsync(disk);
        await using var second = world.Store(disk);
        (await Should.ThrowAsync<JournalLockedException>(async () => await second.OpenAsync(default))).Message.ShouldContain("/data/store");
        await store.DisposeAsync();
        await second.OpenAsync(default);
    }

    [Fact]
    public async Task What_is_not_durable_yet_is_not_seen_and_holds_up_a_rival()
    {
        var (disk, world) = (new SimulatedDisk(), new StoreWorld());
        await using var store = await world.OpenAsync(disk);
        var start = world.Start();
        await world.CommitAsync(store, start);
        disk.SyncGate.Reset();
        var next = store.CommitAsync(start.Stick());
        var fresh = store.CommitAsync(TestSagas.Start("fresh", at: world.Time.Now.AddSeconds(1)));
        var rival = store.CommitAsync(start.End());
        var follower = store.CommitAsync(start.Stick().End());
        (await store.FindAsync(start.State.Id, default))!.Version.ShouldBe(1);
        (await store.FindAsync(new SagaId("fresh"), default)).ShouldBeNull();
        (await store.HistoryAsync(new SagaId("fresh"), 0, 10, default)).ShouldBeNull();
        (await store.HistoryAsync(start.State.Id, 0, 10, default))!.Count.ShouldBe(2);
        (await store.IdsAsync()).ShouldBe(start.State.Id.Value);
        (await store.IdsAsync(new SagaFilter([SagaStatus.Stuck]))).ShouldBe("");
        rival.IsCompleted.ShouldBeFalse();
        disk.SyncGate.Set();
        (await next, await fresh, await rival, await follower).ShouldBe((CommitOutcome.Committed, CommitOutcome.Committed, CommitOutcome.Conflict, CommitOutcome.Committed));
        (await store.FindAsync(start.State.Id, default))!.Status.ShouldBe(SagaStatus.Completed);
        (await store.IdsAsync()).ShouldBe($"fresh {start.State.Id}");
    }

    [Fact]
    public async Task After_a_failed_sync_nothing_is_acknowledged_and_health_says_why()
    {
        var (disk, world) = (new SimulatedDisk(), new StoreWorld());
        var store = await world.OpenAsync(disk);
        var start = world.Start();
        await world.CommitAsync(store, start);
        disk.FailAt(0, DiskFault.Error, forever: false);
        var error = await Should.ThrowAsync<StoreUnavailableException>(() => world.CommitAsync(store, start.End()));
        error.Message.ShouldContain("/data/store");
        error.Message.ShouldContain("Input/output error");
        error.Message.ShouldContain("Check the disk");
        (store.Health.Level, store.Health.Detail).ShouldBe((StoreLevel.Down, error.Message));
        disk.Heal();
        await Should.ThrowAsync<StoreUnavailableException>(() => world.CommitAsync(store, start.End()));
        await Should.ThrowAsync<StoreUnavailableException>(() => store.CommitAsync(TestSagas.Start("fresh")));
        (await store.FindAsync(start.State.Id, default)).Text().ShouldBe(start.State.Text());
        await store.KeepHouseAsync();
        await store.DisposeAsync();
    }

    [Fact]
    public async Task A_full_disk_shows_as_low_first_and_then_stops_commits()
    {
        var (disk, world) = (new SimulatedDisk(), new StoreWorld());
        var store = await world.OpenAsync(disk);
        disk.FailAt(0, DiskFault.Full, forever: true);
        var levels = new List<StoreLevel>();
        StoreUnavailableException? error = null;
        while (error is null)
        {
            try
            {
                await world.CommitAsync(store, world.Start(500));
                levels.Add(store.Health.Level);
            }
            catch (StoreUnavailableException refused)
            {
                error = refused;
            }
        }

        levels.ShouldContain(StoreLevel.Low);
        error.Message.ShouldContain("free some space");
        store.Health.Level.ShouldBe(StoreLevel.Down);
        await store.DisposeAsync();
        disk.Heal();
        await (await world.OpenAsync(disk, "after space was freed")).DisposeAsync();
    }

    [Fact]
    public async Task A_saga_too_large_for_a_segment_is_refused_by_name_and_blocks_nobody()
    {
        var (disk, world) = (new SimulatedDisk(), new StoreWorld());
        await using var store = await world.OpenAsync(disk);
        var error = await Should.ThrowAsync<ArgumentException>(() => store.CommitAsync(TestSagas.Start("big", input: $"\"{new string('x', 10_000)}\"")));
        error.Message.ShouldContain("'big'");
        error.Message.ShouldContain("SegmentBytes");
        (await store.CommitAsync(TestSagas.Start("big"))).ShouldBe(CommitOutcome.Committed);
        store.Health.ShouldBe(StoreHealth.Good);
    }

    [Fact]
    public async Task Old_segments_go_and_what_lives_in_them_stays()
    {
        var (disk, world) = (new SimulatedDisk(), new StoreWorld());
        var store = await world.OpenAsync(disk);
        // One saga that never ends, with a history longer than a segment, and one that ends late.
        SagaCommit endless = world.Start(), late = world.Start();
        await world.CommitAsync(store, endless, late);
        var most = 0;
        for (var round = 0; round < 60; round++)
        {
            for (var i = 0; i < 10; i++)
            {
                var start = world.Start(200);
                await world.CommitAsync(store, start);
                await world.CommitAsync(store, start.End(at: world.Time.Now), endless = endless.Next(null, "replied", "sent", "timed-out"));
            }

            if (round == 30) await world.CommitAsync(store, late = late.End(at: world.Time.Now));
            world.Time.Now += TimeSpan.FromMinutes(20);
            await store.KeepHouseAsync();
            await world.CheckAsync(store, story: $"round {round}");
            most = Math.Max(most, disk.Paths.Count());
            if (round % 7 == 0)
            {
                await store.DisposeAsync();
                store = await world.OpenAsync(disk, $"reopened in round {round}");
            }
        }

        endless.State.HistoryCount.ShouldBe(2 + 600 * 3);
        // What lives may be a quarter of what is kept, and the long history alone is some thirty segments.
        most.ShouldBeLessThan(150);
        disk.Paths.First(static path => path.EndsWith(".segment", StringComparison.Ordinal)).ShouldBeGreaterThan(Path.Combine(world.Options.Path, "000000000060"));
        await store.DisposeAsync();
        await (await world.OpenAsync(disk, "at last")).DisposeAsync();
    }

    [Fact]
    public async Task Definitions_operations_and_what_operators_did_outlive_their_segment_and_every_power_cut()
    {
        var (disk, world) = (new SimulatedDisk(), new StoreWorld());
        var operation = new Operation { Id = "op", Action = OperationAction.Retry, Filter = new SagaFilter(), Reason = "why", By = "ann" };
        var store = await world.OpenAsync(disk);
        for (var round = 0; round < 6; round++)
        {
            var definition = new StoredDefinition("trip", round + 1, $"{round}", Payload.Parse($$"""{"padding":"{{new string('x', 500)}}"}"""), round % 2 == 0 ? DefinitionSource.Rest : DefinitionSource.File);
            (await store.SaveDefinitionAsync(definition, default)).ShouldBe(DefinitionOutcome.Saved);
            operation = operation with { Version = round + 1, Done = round };
            (await store.SaveOperationAsync(operation, default)).ShouldBeTrue();
            await store.SaveAuditAsync(new AuditEntry { Id = $"{round}", At = world.Time.Now.AddDays(1000), By = "ann", Action = "put", Kind = "definition", Target = "trip", Reason = "why" }, default);
            if (round % 2 == 0)
            {
                // The power goes at once: what was acknowledged is there.
                disk = disk.AfterPowerCut(new Random(round));
            }
            else
            {
                await FillAsync(world, store, 60);
                world.Time.Now += TimeSpan.FromHours(2);
                await store.KeepHouseAsync();
                disk.Paths.ShouldNotContain(Path.Combine(world.Options.Path, "000000000001.segment"));
                await store.DisposeAsync();
            }

            store = await world.OpenAsync(disk, $"round {round}");
            (await store.DefinitionsAsync(default)).Select(static kept => $"{kept.Version} {kept.Fingerprint} {kept.Source}")
                .ShouldBe(Enumerable.Range(0, round + 1).Select(static i => $"{i + 1} {i} {(i % 2 == 0 ? "Rest" : "File")}"));
            (await store.SaveDefinitionAsync(definition, default)).ShouldBe(DefinitionOutcome.Exists);
            (await store.OperationsAsync(default)).Select(static kept => $"{kept.Id} {kept.Version} {kept.Done}").ShouldBe([$"op {round + 1} {round}"]);
            (await store.AuditAsync(100, null, default)).Select(static kept => kept.Id).ShouldBe(Enumerable.Range(0, round + 1).Select(static i => $"{i}").Reverse());
        }

        await store.DisposeAsync();
    }

    [Fact]
    public async Task A_finished_saga_that_is_still_kept_moves_out_of_a_dead_segment()
    {
        var (disk, world) = (new SimulatedDisk(), new StoreWorld());
        var store = await world.OpenAsync(disk);
        var kept = world.Start(2000);
        await world.CommitAsync(store, kept);
        await world.CommitAsync(store, kept = kept.Confirm());
        await world.CommitAsync(store, kept.End(at: world.Time.Now.AddHours(9)));
        await FillAsync(world, store, 40);
        world.Time.Now += TimeSpan.FromHours(2);
        for (var round = 0; round < 3; round++)
        {
            await FillAsync(world, store, 20);
            await store.KeepHouseAsync();
            disk.Paths.ShouldNotContain(Path.Combine(world.Options.Path, "000000000001.segment"));
            (await store.FindAsync(kept.State.Id, default))!.Status.ShouldBe(SagaStatus.Completed);
            await world.CheckAsync(store, story: $"round {round}");
            await store.DisposeAsync();
            store = await world.OpenAsync(disk, $"reopened in round {round}");
            world.Time.Now += TimeSpan.FromHours(2);
        }

        await store.DisposeAsync();
    }

    [Fact]
    public async Task What_was_forgotten_does_not_come_back_in_part_when_the_retention_is_raised()
    {
        for (var call = 0; ; call++)
        {
            var (disk, world) = (new SimulatedDisk(), new StoreWorld());
            var store = await world.OpenAsync(disk);
            var old = world.Start();
            await world.CommitAsync(store, old);
            for (var snapshot = 0; snapshot < 2; snapshot++)
            {
                await FillAsync(world, store, 40);
                await store.KeepHouseAsync();
            }

            await world.CommitAsync(store, old.End(at: world.Time.Now));
            world.Time.Now += TimeSpan.FromHours(2);
            // Stopped anywhere, also after its beginning was dropped and before a snapshot without it was written.
            disk.FailAt(call, DiskFault.Error, forever: true);
            try
            {
                await store.KeepHouseAsync();
            }
            catch (Exception error) when (error is StoreUnavailableException or IOException)
            {
            }

            var hit = disk.FaultHit;
            await store.DisposeAsync();
            disk.KillProcess();
            await using var patient = new JournalStore(world.Options, TimeSpan.FromDays(1000), world.Time, disk);
            await patient.OpenAsync(default);
            foreach (var saga in (await patient.ListAsync(new SagaFilter(), 100, null, default)).Items)
                (await patient.HistoryAsync(saga.Id, 0, 100, default))!.Count.ShouldBe(saga.HistoryCount, $"stopped at call {call}: {saga.Id}");
            if (!hit) break;
        }
    }

    [Fact]
    public async Task Opening_reads_the_snapshot_and_what_came_after_it()
    {
        var (disk, world) = (new SimulatedDisk(), new StoreWorld());
        var store = await world.OpenAsync(disk);
        for (var round = 0; round < 6; round++)
        {
            await WorkAsync(world, store, new Random(round), 60);
            await store.KeepHouseAsync();
        }

        disk.Paths.Count(static path => path.EndsWith(".snapshot", StringComparison.Ordinal)).ShouldBe(2);
        await WorkAsync(world, store, new Random(7), 10);
        await store.DisposeAsync();
        store = await world.OpenAsync(disk, "from the newest snapshot");
        await store.DisposeAsync();
        var newest = disk.Paths.Last(static path => path.EndsWith(".snapshot", StringComparison.Ordinal));
        disk[newest][disk[newest].Length / 2] ^= 1;
        await (await world.OpenAsync(disk, "from the one before")).DisposeAsync();
    }

    [Theory]
    [InlineData(DiskFault.Error, false)]
    [InlineData(DiskFault.ShortWrite, true)]
    [InlineData(DiskFault.Full, true)]
    public async Task Whichever_call_to_the_disk_fails_nothing_acknowledged_is_lost(DiskFault fault, bool forever)
    {
        for (var call = 0; ; call += 3)
        {
            var (disk, world) = (new SimulatedDisk(), new StoreWorld());
            disk.FailAt(call, fault, forever);
            await LiveAsync(world, disk);
            var hit = disk.FaultHit;
            disk.KillProcess();
            disk = disk.AfterPowerCut(new Random(call));
            var story = $"{fault} at call {call}, forever: {forever}";
            var store = await world.OpenAsync(disk, story);
            await WorkAsync(world, store, new Random(call), 5);
            await store.KeepHouseAsync();
            await store.DisposeAsync();
            await (await world.OpenAsync(disk, story + ", afterwards")).DisposeAsync();
            if (!hit) break;
        }
    }

    [Fact]
    public async Task Random_work_and_housekeeping_with_random_power_cuts_keep_the_promise()
    {
        var first = Random.Shared.Next();
        for (var seed = first; seed < first + 20; seed++)
        {
            var random = new Random(seed);
            var (disk, world) = (new SimulatedDisk(), new StoreWorld());
            for (var life = 0; life < 5; life++)
            {
                var store = await world.OpenAsync(disk, $"seed {seed}, life {life}");
                if (random.Next(3) > 0) disk.FailAt(random.Next(200), (DiskFault)random.Next(3), forever: random.Next(2) == 0);
                SimulatedDisk? cut = null;
                try
                {
                    for (var step = random.Next(6); step >= 0; step--)
                    {
                        // Housekeeping runs beside the commits, as it does in life.
                        var house = Task.Run(store.KeepHouseAsync);
                        await WorkAsync(world, store, random, 30);
                        await house;
                        world.Time.Now += TimeSpan.FromMinutes(random.Next(50));
                    }
                }
                catch (Exception error) when (error is StoreUnavailableException or IOException)
                {
                }

                if (random.Next(2) == 0) cut = disk.AfterPowerCut(random);
                await store.DisposeAsync();
                disk.KillProcess();
                disk = cut ?? disk;
            }
        }
    }

    static async Task FillAsync(StoreWorld world, JournalStore store, int sagas)
    {
        for (var i = 0; i < sagas; i++)
        {
            var start = world.Start(300);
            await world.CommitAsync(store, start);
            await world.CommitAsync(store, start.End(at: world.Time.Now));
        }
    }

    static async Task LiveAsync(StoreWorld world, SimulatedDisk disk)
    {
        var store = world.Store(disk);
        try
        {
            await store.OpenAsync(default);
            for (var round = 0; round < 4; round++)
            {
                await WorkAsync(world, store, new Random(round), 15);
                world.Time.Now += TimeSpan.FromMinutes(35);
                await store.KeepHouseAsync();
            }
        }
        catch (Exception error) when (error is StoreUnavailableException or IOException)
        {
        }

        await store.DisposeAsync();
    }

    /// <summary>Starts sagas and goes on with some, several in a call.</summary>
    static async Task WorkAsync(StoreWorld world, JournalStore store, Random random, int calls)
    {
        for (var call = 0; call < calls; call++)
        {
            var commits = world.Open.Where(_ => random.Next(4) == 0).Take(4).Select(last => random.Next(5) switch
            {
                0 => last.Stick(),
                1 => last.Confirm(),
                2 => last.Next(),
                _ => last.End(random.Next(2) == 0 ? SagaStatus.Completed : SagaStatus.Compensated, world.Time.Now),
            }).ToList();
            if (commits.Count == 0 || random.Next(3) == 0) commits.Add(world.Start(random.Next(300)));
            await world.CommitAsync(store, [.. commits]);
            world.Time.Now += TimeSpan.FromSeconds(1);
        }
    }
}

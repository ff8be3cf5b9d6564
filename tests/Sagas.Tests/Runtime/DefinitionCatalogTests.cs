using System.Text;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Sagas.Runtime;
using Shouldly;
using Xunit;

namespace Sagas.Tests.Runtime;

/// <summary>Definitions from C#, files and the store, at startup.</summary>
public sealed class DefinitionCatalogTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("sagas-definitions-").FullName;

    [Fact]
    public async Task Files_and_folders_are_loaded_kept_in_the_store_and_may_call_any_host()
    {
        var one = Write("one.json", Move("one", 1));
        Write("more/two.json", "\uFEFF" + Move("two", 1));
        Write("more/three.json", Move("three", 4));
        Write("more/notes.txt", "no definition");
        var store = new MemoryStore();
        using (var host = Host(store, ("Sagas:Definitions", $"{one} ; {Path.Combine(_folder, "more")}"), ("Sagas:StuckAfter", "3")))
        {
            await host.StartAsync();
            var engine = host.Services.GetRequiredService<SagaEngine>();
            engine.Definitions.Select(d => $"{d} {d.Source.Word()} {d.StuckAfter}").ShouldBe(["one v1 file 3", "three v4 file 3", "two v1 file 3"]);
            engine.Definitions.ShouldAllBe(d => !d.LoopbackOnly);
            await host.StopAsync();
        }
        // The files are gone; a list in configuration; sagas that began go on.
        using var again = Host(store, ("Sagas:Definitions:0", one));
        await again.StartAsync();
        again.Services.GetRequiredService<SagaEngine>().Definitions.Select(d => $"{d} {d.Source.Word()} {d.LoopbackOnly}").ShouldBe(["one v1 file False", "three v4 file False", "two v1 file False"]);
        await again.StopAsync();
    }

    [Fact]
    public void All_faults_of_all_files_are_in_one_message_with_file_and_path()
    {
        var a = Write("a.json", """{"name":"a","version":0,"steps":[{"name":"x","step":{"do":"nowhere"}}]}""");
        var b = Write("b.json", "{");
        Write("c.json", Move("c", 1));
        var d = Write("d.json", Move("c", 1).Replace("bus:bank/in", "bus:bank/into"));
        var faults = Should.Throw<DefinitionException>(() => new DefinitionCatalog([], [], 10, [_folder, Path.Combine(_folder, "nowhere")])).Faults;
        faults.Count.ShouldBe(5);
        faults[0].ShouldStartWith($"{a}: $.version: ");
        faults[1].ShouldStartWith($"{a}: $.steps[0].step.do: 'nowhere' is no address.");
        faults[2].ShouldStartWith($"{b}: $: The text is not JSON, at line 1");
        faults[3].ShouldStartWith($"{d}: version 1 of 'c' is defined in {Path.Combine(_folder, "c.json")} with another graph. Raise");
        faults[4].ShouldStartWith($"{Path.Combine(_folder, "nowhere")}: there is no such file or folder. Sagas:Definitions names");
    }

    [Fact]
    public async Task A_file_that_differs_from_the_store_keeps_the_engine_from_starting_and_says_what_to_do()
    {
        var store = new MemoryStore();
        var file = Write("one.json", Move("one", 1));
        using (var host = Host(store, ("Sagas:Definitions", file)))
        {
            await host.StartAsync();
            await host.StopAsync();
        }
        Write("one.json", Move("one", 1).Replace("bus:bank/in", "bus:bank/into"));
        using var changed = Host(store, ("Sagas:Definitions", file));
        (await Should.ThrowAsync<DefinitionException>(() => changed.StartAsync())).Message
            .ShouldBe($"one: version 1 in file {file} differs from the one in the store, which came from a file; sagas may have begun under it. Raise the version of the newer one: a saga keeps the version it started with.");
        Write("one.json", Move("one", 2).Replace("bus:bank/in", "bus:bank/into"));
        using var raised = Host(store, ("Sagas:Definitions", file));
        await raised.StartAsync();
        raised.Services.GetRequiredService<SagaEngine>().Definitions.Select(d => d.ToString()).ShouldBe(["one v1", "one v2"]);
        await raised.StopAsync();
    }

    [Fact]
    public async Task A_definition_in_CSharp_wins_over_the_same_graph_in_the_store_and_clashes_with_another()
    {
        var alike = new MemoryStore();
        var graph = """{"name":"plain","version":1,"steps":[{"name":"note","step":{"do":"bus:desk/note"},"readOnly":true}]}""";
        await Save(alike, graph);
        await using (var stage = await Stage.OpenAsync(alike, definitions: new DefinitionCatalog([new Note()], [], 10)))
        {
            stage.Engine.FindDefinition("plain")!.Source.ShouldBe(DefinitionSource.Code);
            stage.Engine.FindDefinition("plain")!.InputType.ShouldNotBeNull();
        }
        var other = new MemoryStore();
        await Save(other, graph.Replace("\"readOnly\":true", "\"readOnly\":true,\"timeout\":\"PT3S\""));
        (await Should.ThrowAsync<DefinitionException>(() => Stage.OpenAsync(other, definitions: new DefinitionCatalog([new Note()], [], 10)))).Message
            .ShouldBe("plain: version 1 in C# differs from the one in the store, which was put over REST; sagas may have begun under it. Raise the version of the newer one: a saga keeps the version it started with.");
    }

    [Fact]
    public async Task A_stored_definition_that_this_program_cannot_read_holds_up_no_other()
    {
        var store = new MemoryStore();
        await store.SaveDefinitionAsync(new StoredDefinition("future", 1, "x", Payload.Parse("""{"name":"future","version":1,"telepathy":true,"steps":[]}"""), DefinitionSource.Rest), default);
        await Save(store, Move("one", 1));
        await using var stage = await Stage.OpenAsync(store);
        stage.Engine.FindDefinition("future").ShouldBeNull();
        stage.Engine.FindDefinition("one")!.LoopbackOnly.ShouldBeTrue();
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private static string Move(string name, int version) =>
        $$"""{"name":"{{name}}","version":{{version}},"steps":[{"name":"in","step":{"do":"bus:bank/in"} }]}""";

    private static async Task Save(MemoryStore store, string json)
    {
        var definition = DefinitionJson.Parse(Encoding.UTF8.GetBytes(json));
        await store.SaveDefinitionAsync(new StoredDefinition(definition.Name, definition.Version, definition.Fingerprint, definition.Json!, DefinitionSource.Rest), default);
    }

    private string Write(string name, string json)
    {
        var path = Path.Combine(_folder, name);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, json);
        return path;
    }

    private static IHost Host(ISagaStore store, params (string Key, string Value)[] configuration)
    {
        var builder = Microsoft.Extensions.Hosting.Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings());
        builder.Configuration.AddInMemoryCollection(configuration.ToDictionary(pair => pair.Key, pair => (string?)pair.Value));
        builder.Services.AddSingleton(store).AddSingleton<ITransport>(new TestBus());
        builder.Services.AddSagas(_ => { });
        return builder.Build();
    }

    private sealed record Ask(string Name) : ICommand<Ask>;

    [Saga("plain")]
    private sealed class Note : Saga<Ask, Nothing>
    {
        protected override SagaEnd<Nothing> Define(Flow<Ask> saga)
        {
            saga.Step(c => new NoteIt(c.Input.Name)).Named("note").To("desk").ReadOnly();
            return saga.Complete(_ => new Nothing());
        }
    }

    [Command("note")]
    private sealed record NoteIt(string Name) : ICommand<NoteIt>;
}

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An adapter for kvmref in C99: a deliberately small model of nested VMX behind the wire protocol
 * (spec/protocol.md). One file, no dependencies:
 *
 *     cc -std=c99 -Wall -Wextra -O2 -o adapter adapter.c
 *     kvmref smoke --implementation ./adapter
 *     kvmref check --implementation ./adapter
 *
 * The file has three parts: a reader of JSON, the model, and the protocol. To test an
 * implementation of your own, keep the first and the third, and put yours in place of the model.
 *
 * What the model does not do, so that some vectors fail:
 *   - An interrupt for L1 that arrives while L2 must still run waits for L2's next exit, as it did
 *     in Linux 3.2: there is no immediate exit.
 *   - Of the checks of a VM entry it makes only the one of the launch state, and it does not tell
 *     an entry that failed from an exit.
 *   - An event whose delivery to L2 was interrupted is not tracked: L1 sees it only in its own exit.
 *   - VMREAD, VMWRITE and VMPTRST do nothing, and nothing ever faults.
 *   - Every access of L2 to an MSR or to a control register exits to L1: no bitmap and no mask is
 *     looked at, nor are the secondary controls.
 * It knows nothing of requests, so an interrupt without one is among the steps that it answers as
 * unsupported; what comes after such a step is masked.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Part 1: a reader of JSON ------------------------------------------------------------- */

enum kind { NOTHING, BOOLEAN, NUMBER, STRING, ARRAY, OBJECT };

struct value {
	enum kind kind;
	const char *key;     /* in an object */
	const char *text;    /* of a string */
	long long number;    /* of a number or a boolean */
	struct value *first; /* of an array or an object */
	struct value *next;  /* in an array or an object */
};

enum { MOST_VALUES = 65536, DEEPEST = 64 };

static struct value values[MOST_VALUES]; /* those of the current line */
static int values_used;
static char *cursor;

static struct value *parse_value(int depth);

static void skip_blanks(void)
{
	while (*cursor == ' ' || *cursor == '\t' || *cursor == '\r' || *cursor == '\n')
		cursor++;
}

static struct value *new_value(enum kind kind)
{
	struct value *value;

	if (values_used == MOST_VALUES)
		return NULL;
	value = &values[values_used++];
	memset(value, 0, sizeof *value);
	value->kind = kind;
	return value;
}

/* Parse a string in place. No request has other than ASCII characters. */
static char *parse_string(void)
{
	char *start = ++cursor, *end = start;

	while (*cursor != '"') {
		if ((unsigned char)*cursor < ' ')
			return NULL;
		if (*cursor == '\\') {
			cursor++;
			if (!*cursor || !strchr("\"\\/", *cursor))
				return NULL;
		}
		*end++ = *cursor++;
	}
	cursor++;
	*end = '\0';
	return start;
}

/* Parse what is between the brackets of an array or an object. */
static struct value *parse_members(enum kind kind, char closing, int depth)
{
	struct value *whole = new_value(kind), **place;

	if (!whole)
		return NULL;
	place = &whole->first;
	cursor++;
	skip_blanks();
	if (*cursor == closing) {
		cursor++;
		return whole;
	}
	for (;;) {
		const char *key = NULL;

		skip_blanks();
		if (kind == OBJECT) {
			if (*cursor != '"' || !(key = parse_string()))
				return NULL;
			skip_blanks();
			if (*cursor++ != ':')
				return NULL;
		}
		*place = parse_value(depth + 1);
		if (!*place)
			return NULL;
		(*place)->key = key;
		place = &(*place)->next;
		skip_blanks();
		if (*cursor == closing) {
			cursor++;
			return whole;
		}
		if (*cursor++ != ',')
			return NULL;
	}
}

static struct value *parse_word(const char *word, enum kind kind, long long number)
{
	struct value *value;

	if (strncmp(cursor, word, strlen(word)) != 0)
		return NULL;
	cursor += strlen(word);
	value = new_value(kind);
	if (value)
		value->number = number;
	return value;
}

static struct value *parse_value(int depth)
{
	struct value *value;
	char *end;

	skip_blanks();
	if (depth > DEEPEST)
		return NULL;
	switch (*cursor) {
	case '{':
		return parse_members(OBJECT, '}', depth);
	case '[':
		return parse_members(ARRAY, ']', depth);
	case 't':
		return parse_word("true", BOOLEAN, 1);
	case 'f':
		return parse_word("false", BOOLEAN, 0);
	case 'n':
		return parse_word("null", NOTHING, 0);
	case '"':
		value = new_value(STRING);
		return value && (value->text = parse_string()) ? value : NULL;
	default:
		value = new_value(NUMBER);
		if (!value)
			return NULL;
		value->number = strtoll(cursor, &end, 10);
		if (end == cursor)
			return NULL;
		cursor = end;
		return value;
	}
}

/* Parse a line that is one object; NULL if it isn't. */
static struct value *parse_line(char *line)
{
	struct value *value;

	values_used = 0;
	cursor = line;
	value = parse_value(0);
	skip_blanks();
	return value && value->kind == OBJECT && !*cursor ? value : NULL;
}

static struct value *member(const struct value *object, const char *key)
{
	struct value *each = object ? object->first : NULL;

	while (each && strcmp(each->key, key) != 0)
		each = each->next;
	return each;
}

static const char *text_of(const struct value *value)
{
	return value && value->kind == STRING ? value->text : "";
}

/* Numbers are written in decimal, bit patterns as strings "0x...". */
static uint64_t bits_of(const struct value *value)
{
	if (!value)
		return 0;
	return value->kind == STRING ? strtoull(value->text, NULL, 16) : (uint64_t)value->number;
}

/* ---- Part 2: the model ---------------------------------------------------------------------- */

enum { MEMORY = 16 << 20, PAGE = 4096, MOST_VMCSS = 16, MOST_FIELDS = 192, MOST_OUTCOMES = 64 };

#define NO_VMCS (~(uint64_t)0)
#define REVISION 0x11e57ed0u
#define VALID 0x80000000u
#define ARITHMETIC_FLAGS 0x8d5u /* CF, PF, AF, ZF, SF, OF */
#define CF 0x1u
#define ZF 0x40u
#define IF 0x200u

enum {
	EXIT_EXCEPTION_NMI = 0,
	EXIT_EXTERNAL_INTERRUPT = 1,
	EXIT_INTERRUPT_WINDOW = 7,
	EXIT_NMI_WINDOW = 8,
	EXIT_HLT = 12,
	EXIT_INVLPG = 14,
	EXIT_RDPMC = 15,
	EXIT_RDTSC = 16,
	EXIT_VMCLEAR = 19,
	EXIT_VMLAUNCH = 20,
	EXIT_VMPTRLD = 21,
	EXIT_VMRESUME = 24,
	EXIT_VMXOFF = 26,
	EXIT_VMXON = 27,
	EXIT_DR_ACCESS = 29,
	EXIT_MWAIT = 36,
	EXIT_MONITOR = 39,
	EXIT_PAUSE = 40,
	EXIT_MACHINE_CHECK = 41,
	EXIT_EPT_VIOLATION = 48,
	EXIT_EPT_MISCONFIG = 49
};

struct field {
	char name[48];
	uint64_t value;
};

/* A VMCS of L1. L1's fields have names, not offsets: nothing here looks at them as memory. */
struct vmcs {
	uint64_t address;
	int used;
	/* The revision is in memory, like an operand, because L1 stores it there. */
	struct field fields[MOST_FIELDS];
};

/* How a run of a guest ends, as the script says. */
struct outcome {
	uint64_t reason, qualification, intr_info, intr_error, idt_info, idt_error, length, info;
	uint64_t rip, rsp, rflags;
	int sets_rip, sets_rsp, sets_rflags;
	uint64_t registers[16];
	int sets_register[16];
};

static const char *const register_names[16] = {
	"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
	"r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"
};

enum { RSP = 4 };

static struct {
	uint64_t registers[16];
	uint64_t rip, rflags;
	uint64_t l1_rflags;    /* those of L1, while L2 runs */
	int vmxon;             /* L1 has executed VMXON */
	int in_l2;             /* L2 runs */
	int must_run;          /* L2 has been entered, and has not run yet */
	uint64_t current;      /* address of L1's current VMCS */
	unsigned char irr[32]; /* interrupts that wait for L1 */
	struct vmcs vmcss[MOST_VMCSS];
	struct outcome outcomes[MOST_OUTCOMES];
	int outcomes_queued;
} vm;

static unsigned char memory[MEMORY];

/* Return the VMCS at an address, a new one if there is none yet; NULL if there is no more room. */
static struct vmcs *vmcs_at(uint64_t address)
{
	int i;

	address &= ~(uint64_t)(PAGE - 1);
	for (i = 0; i < MOST_VMCSS; i++)
		if (vm.vmcss[i].used && vm.vmcss[i].address == address)
			return &vm.vmcss[i];
	for (i = 0; i < MOST_VMCSS; i++)
		if (!vm.vmcss[i].used) {
			memset(&vm.vmcss[i], 0, sizeof vm.vmcss[i]);
			vm.vmcss[i].used = 1;
			vm.vmcss[i].address = address;
			return &vm.vmcss[i];
		}
	return NULL;
}

static struct field *field_of(struct vmcs *vmcs, const char *name)
{
	int i;

	for (i = 0; i < MOST_FIELDS; i++) {
		if (strcmp(vmcs->fields[i].name, name) == 0)
			return &vmcs->fields[i];
		if (!vmcs->fields[i].name[0]) {
			strncpy(vmcs->fields[i].name, name, sizeof vmcs->fields[i].name - 1);
			return &vmcs->fields[i];
		}
	}
	return NULL;
}

static uint64_t get(struct vmcs *vmcs, const char *name)
{
	struct field *field = field_of(vmcs, name);

	return field ? field->value : 0;
}

static void put(struct vmcs *vmcs, const char *name, uint64_t value)
{
	struct field *field = field_of(vmcs, name);

	if (field)
		field->value = value;
}

static void reset_machine(const struct value *config)
{
	memset(&vm, 0, sizeof vm);
	memset(memory, 0, sizeof memory);
	vm.current = NO_VMCS;
	vm.rip = bits_of(member(config, "l1_rip"));
	vm.registers[RSP] = bits_of(member(config, "l1_rsp"));
	vm.rflags = bits_of(member(config, "l1_rflags"));
}

static int highest_interrupt(void)
{
	int vector;

	for (vector = 255; vector >= 0; vector--)
		if (vm.irr[vector / 8] >> vector % 8 & 1)
			return vector;
	return -1;
}

static void vm_succeed(void)
{
	vm.rflags &= ~(uint64_t)ARITHMETIC_FLAGS;
}

static void vm_fail(unsigned error)
{
	vm_succeed();
	if (vm.current == NO_VMCS) {
		vm.rflags |= CF;
	} else {
		vm.rflags |= ZF;
		put(vmcs_at(vm.current), "vm_instruction_error", error);
	}
}

static uint64_t read_memory(uint64_t address, int size)
{
	uint64_t value = 0;

	while (size--)
		value = value << 8 | (address + size < MEMORY ? memory[address + size] : 0);
	return value;
}

static void write_memory(uint64_t address, uint64_t size, uint64_t value)
{
	for (; size--; address++, value >>= 8)
		if (address < MEMORY)
			memory[address] = (unsigned char)value;
}

/* Return what the memory operand of a VMX instruction contains. Segments are flat. */
static uint64_t operand(const struct outcome *outcome)
{
	uint64_t address = outcome->qualification;
	uint32_t info = (uint32_t)outcome->info;

	if (!(info & 1u << 27))
		address += vm.registers[info >> 23 & 15];
	if (!(info & 1u << 22))
		address += vm.registers[info >> 18 & 15] << (info & 3);
	return read_memory(address, 8);
}

static void enter_l2(int launch)
{
	struct vmcs *vmcs;

	if (vm.current == NO_VMCS) {
		vm_fail(0);
		return;
	}
	vmcs = vmcs_at(vm.current);
	if (launch == (int)get(vmcs, "launch_state")) {
		vm_fail(launch ? 4 : 5);
		return;
	}
	put(vmcs, "launch_state", 1);
	vm.in_l2 = vm.must_run = 1;
	vm.l1_rflags = vm.rflags;
	vm.rip = get(vmcs, "guest_rip");
	vm.registers[RSP] = get(vmcs, "guest_rsp");
	vm.rflags = get(vmcs, "guest_rflags");
}

/* Leave L2 for L1, and tell L1 why. */
static void exit_to_l1(const struct outcome *outcome)
{
	struct vmcs *vmcs = vmcs_at(vm.current);

	put(vmcs, "vm_exit_reason", outcome->reason);
	put(vmcs, "exit_qualification", outcome->qualification);
	put(vmcs, "vm_exit_intr_info", outcome->intr_info);
	put(vmcs, "vm_exit_intr_error_code", outcome->intr_error);
	put(vmcs, "idt_vectoring_info_field", outcome->idt_info);
	put(vmcs, "idt_vectoring_error_code", outcome->idt_error);
	put(vmcs, "vm_exit_instruction_len", outcome->length);
	put(vmcs, "vmx_instruction_info", outcome->info);
	put(vmcs, "vm_entry_intr_info_field", get(vmcs, "vm_entry_intr_info_field") & ~VALID);
	put(vmcs, "guest_rip", vm.rip);
	put(vmcs, "guest_rsp", vm.registers[RSP]);
	put(vmcs, "guest_rflags", vm.rflags);
	vm.in_l2 = 0;
	vm.rip = get(vmcs, "host_rip");
	vm.registers[RSP] = get(vmcs, "host_rsp");
	vm.rflags = vm.l1_rflags; /* as in Linux 3.3; a processor clears them */
}

/* Tell whether L1 wants to know of an exit of L2. */
static int wanted_by_l1(const struct outcome *outcome)
{
	struct vmcs *vmcs = vmcs_at(vm.current);
	uint64_t controls = get(vmcs, "cpu_based_vm_exec_control");

	switch (outcome->reason & 0xffff) {
	case EXIT_EXCEPTION_NMI:
		if ((outcome->intr_info & 0x700) != 0x300)
			return 0;
		if ((outcome->intr_info & 0xff) == 14)
			return 1;
		return get(vmcs, "exception_bitmap") >> (outcome->intr_info & 31) & 1;
	case EXIT_EXTERNAL_INTERRUPT:
	case EXIT_MACHINE_CHECK:
	case EXIT_EPT_VIOLATION:
	case EXIT_EPT_MISCONFIG:
		return 0;
	case EXIT_HLT:
		return controls >> 7 & 1;
	case EXIT_INVLPG:
		return controls >> 9 & 1;
	case EXIT_MWAIT:
		return controls >> 10 & 1;
	case EXIT_RDPMC:
		return controls >> 11 & 1;
	case EXIT_RDTSC:
		return controls >> 12 & 1;
	case EXIT_DR_ACCESS:
		return controls >> 23 & 1;
	case EXIT_MONITOR:
		return controls >> 29 & 1;
	case EXIT_PAUSE:
		return controls >> 30 & 1;
	default:
		return 1;
	}
}

/* Go on behind the instruction that has exited, if the exit is one of those that L0 emulates. */
static void skip_instruction(const struct outcome *outcome)
{
	switch (outcome->reason & 0xffff) {
	case EXIT_EXCEPTION_NMI:
	case EXIT_EXTERNAL_INTERRUPT:
	case EXIT_INTERRUPT_WINDOW:
	case EXIT_NMI_WINDOW:
	case EXIT_MWAIT:
	case EXIT_MONITOR:
	case EXIT_MACHINE_CHECK:
	case EXIT_EPT_VIOLATION:
	case EXIT_EPT_MISCONFIG:
		return;
	}
	vm.rip += outcome->length;
}

/* Execute the instruction of L1 that has exited. */
static void execute(const struct outcome *outcome)
{
	uint64_t address;

	uint64_t reason = outcome->reason & 0xffff;

	/* Without VMXON these are faults. */
	if (reason >= EXIT_VMCLEAR && reason <= EXIT_VMXOFF && !vm.vmxon)
		return;
	skip_instruction(outcome);
	switch (reason) {
	case EXIT_VMXON:
		vm.vmxon = 1;
		break;
	case EXIT_VMXOFF:
		vm.vmxon = 0;
		vm.current = NO_VMCS;
		break;
	case EXIT_VMCLEAR:
		address = operand(outcome);
		if (address % PAGE) {
			vm_fail(2);
			break;
		}
		if (address == vm.current)
			vm.current = NO_VMCS;
		put(vmcs_at(address), "launch_state", 0);
		vm_succeed();
		break;
	case EXIT_VMPTRLD:
		address = operand(outcome);
		if (address % PAGE)
			vm_fail(9);
		else if (address != vm.current && read_memory(address, 4) != REVISION)
			vm_fail(11);
		else {
			vm.current = address;
			vm_succeed();
		}
		break;
	case EXIT_VMLAUNCH:
	case EXIT_VMRESUME:
		enter_l2(reason == EXIT_VMLAUNCH);
		break;
	}
}

/* Do what L0 does between two looks at the world: events, one run of a guest, its exit. */
static void enter(void)
{
	struct outcome outcome = { .reason = EXIT_EXTERNAL_INTERRUPT };
	int vector = highest_interrupt(), i;

	if (vector >= 0) {
		int wanted = vm.in_l2 && get(vmcs_at(vm.current), "pin_based_vm_exec_control") & 1;

		/* If L2 must run, the interrupt waits. Here is what Linux 3.3 does better. */
		if (wanted && !vm.must_run)
			exit_to_l1(&outcome);
		if (vm.rflags & IF && (!wanted || !vm.in_l2))
			vm.irr[vector / 8] &= (unsigned char)~(1u << vector % 8);
		if (wanted && !vm.in_l2)
			return;
	}
	if (vm.outcomes_queued) {
		outcome = vm.outcomes[0];
		vm.outcomes_queued--;
		memmove(vm.outcomes, vm.outcomes + 1, sizeof outcome * vm.outcomes_queued);
	}
	for (i = 0; i < 16; i++)
		if (outcome.sets_register[i])
			vm.registers[i] = outcome.registers[i];
	if (outcome.sets_rip)
		vm.rip = outcome.rip;
	if (outcome.sets_rsp)
		vm.registers[RSP] = outcome.rsp;
	if (outcome.sets_rflags)
		vm.rflags = outcome.rflags;
	vm.must_run = 0;
	if (!vm.in_l2)
		execute(&outcome);
	else if (wanted_by_l1(&outcome))
		exit_to_l1(&outcome);
	else
		skip_instruction(&outcome);
}

/* ---- Part 3: the protocol ------------------------------------------------------------------- */

static const char *const keys[] = {
	"nested.vmxon", "nested.guest_mode", "nested.current_vmptr", "irr", "rip", "rsp", "rflags",
	"vmcs12.launch_state", "vmcs12.vm_instruction_error", "vmcs12.vm_exit_reason",
	"vmcs12.exit_qualification", "vmcs12.vm_exit_intr_info",
	"vmcs12.vm_exit_intr_error_code", "vmcs12.idt_vectoring_info_field",
	"vmcs12.idt_vectoring_error_code", "vmcs12.vm_exit_instruction_len",
	"vmcs12.vmx_instruction_info", "vmcs12.vm_entry_intr_info_field", "vmcs12.guest_rip",
	"vmcs12.guest_rsp", "vmcs12.guest_rflags", "gprs.rax", "gprs.rcx", "gprs.rdx", "gprs.rbx"
};

enum { KEYS = sizeof keys / sizeof keys[0] };

static const char *const steps =
	"\"clear_exits\",\"dump\",\"enter\",\"exit\",\"irq\",\"mem\",\"poke12\",\"reg\",\"vmcs12\"";

static void write_text(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			putchar('\\');
		putchar(*text);
	}
	putchar('"');
}

static int read_register(const char *name)
{
	int i;

	for (i = 0; i < 16; i++)
		if (strcmp(register_names[i], name) == 0)
			return i;
	return -1;
}

static int queue_outcome(const struct value *step)
{
	struct outcome *outcome;
	const struct value *each;

	if (member(step, "fail") || vm.outcomes_queued == MOST_OUTCOMES)
		return 0;
	outcome = &vm.outcomes[vm.outcomes_queued++];
	memset(outcome, 0, sizeof *outcome);
	each = member(step, "reason");
	outcome->reason = each ? bits_of(each) : EXIT_EXTERNAL_INTERRUPT;
	outcome->qualification = bits_of(member(step, "qual"));
	outcome->intr_info = bits_of(member(step, "intr_info"));
	outcome->intr_error = bits_of(member(step, "intr_err"));
	outcome->idt_info = bits_of(member(step, "idt_info"));
	outcome->idt_error = bits_of(member(step, "idt_err"));
	outcome->length = bits_of(member(step, "len"));
	outcome->info = bits_of(member(step, "info"));
	each = member(step, "fields");
	for (each = each ? each->first : NULL; each; each = each->next) {
		if (strcmp(each->key, "GUEST_RIP") == 0) {
			outcome->rip = bits_of(each);
			outcome->sets_rip = 1;
		} else if (strcmp(each->key, "GUEST_RSP") == 0) {
			outcome->rsp = bits_of(each);
			outcome->sets_rsp = 1;
		} else if (strcmp(each->key, "GUEST_RFLAGS") == 0) {
			outcome->rflags = bits_of(each);
			outcome->sets_rflags = 1;
		}
	}
	each = member(step, "regs");
	for (each = each ? each->first : NULL; each; each = each->next) {
		int number = read_register(each->key);

		if (number >= 0) {
			outcome->registers[number] = bits_of(each);
			outcome->sets_register[number] = 1;
		}
	}
	return 1;
}

static void write_registers(const struct value *registers)
{
	const struct value *each;

	for (each = registers ? registers->first : NULL; each; each = each->next) {
		int number = read_register(each->key);

		if (number >= 0)
			vm.registers[number] = bits_of(each);
		else if (strcmp(each->key, "rip") == 0)
			vm.rip = bits_of(each);
		else if (strcmp(each->key, "rflags") == 0)
			vm.rflags = bits_of(each);
	}
}

static void write_fields(struct vmcs *vmcs, const struct value *fields)
{
	const struct value *each;

	for (each = fields ? fields->first : NULL; vmcs && each; each = each->next)
		if (strcmp(each->key, "revision_id") == 0)
			write_memory(vmcs->address, 4, bits_of(each));
		else
			put(vmcs, each->key, bits_of(each));
}

/* Do a step; 0 if there is no such step here. */
static int do_step(const struct value *step)
{
	const char *name = text_of(member(step, "op"));

	if (strcmp(name, "enter") == 0) {
		enter();
	} else if (strcmp(name, "exit") == 0) {
		return queue_outcome(step);
	} else if (strcmp(name, "irq") == 0) {
		uint64_t vector = bits_of(member(step, "vector")) & 255;

		if (bits_of(member(step, "noreq")))
			return 0;
		vm.irr[vector / 8] |= (unsigned char)(1u << vector % 8);
	} else if (strcmp(name, "mem") == 0) {
		write_memory(bits_of(member(step, "gpa")), bits_of(member(step, "size")),
			     bits_of(member(step, "value")));
	} else if (strcmp(name, "vmcs12") == 0) {
		struct vmcs *vmcs = vmcs_at(bits_of(member(step, "gpa")));

		if (!vmcs)
			return 0;
		if (bits_of(member(step, "zero"))) {
			memset(vmcs->fields, 0, sizeof vmcs->fields);
			write_memory(vmcs->address, 4, 0);
		}
		write_fields(vmcs, member(step, "fields"));
	} else if (strcmp(name, "poke12") == 0) {
		if (vm.current != NO_VMCS)
			write_fields(vmcs_at(vm.current), member(step, "fields"));
	} else if (strcmp(name, "reg") == 0) {
		write_registers(member(step, "regs"));
	} else if (strcmp(name, "clear_exits") == 0) {
		vm.outcomes_queued = 0;
	} else if (strcmp(name, "dump") != 0) {
		return 0;
	}
	return 1;
}

static void write_bits(uint64_t bits)
{
	printf("\"0x%llx\"", (unsigned long long)bits);
}

static void write_value(const char *key)
{
	const char *separator = "";
	int vector;

	if (strcmp(key, "nested.vmxon") == 0) {
		printf("%d", vm.vmxon);
	} else if (strcmp(key, "nested.guest_mode") == 0) {
		printf("%d", vm.in_l2);
	} else if (strcmp(key, "nested.current_vmptr") == 0) {
		write_bits(vm.current);
	} else if (strcmp(key, "irr") == 0) {
		putchar('[');
		for (vector = 0; vector < 256; vector++)
			if (vm.irr[vector / 8] >> vector % 8 & 1) {
				printf("%s%d", separator, vector);
				separator = ",";
			}
		putchar(']');
	} else if (strcmp(key, "rip") == 0) {
		write_bits(vm.rip);
	} else if (strcmp(key, "rsp") == 0) {
		write_bits(vm.registers[RSP]);
	} else if (strcmp(key, "rflags") == 0) {
		write_bits(vm.rflags);
	} else if (strncmp(key, "gprs.", 5) == 0) {
		write_bits(vm.registers[read_register(key + 5)]);
	} else if (vm.current == NO_VMCS) {
		printf("null");
	} else {
		write_bits(get(vmcs_at(vm.current), key + strlen("vmcs12.")));
	}
}

static int known(const char *key)
{
	int i;

	for (i = 0; i < KEYS; i++)
		if (strcmp(keys[i], key) == 0)
			return 1;
	return 0;
}

static void answer_observe(const struct value *asked)
{
	const struct value *each;
	const char *separator = "";

	printf(",\"values\":{");
	for (each = asked ? asked->first : NULL; each; each = each->next)
		if (known(text_of(each))) {
			printf("%s\"%s\":", separator, text_of(each));
			write_value(text_of(each));
			separator = ",";
		}
	printf("},\"unknown\":[");
	separator = "";
	for (each = asked ? asked->first : NULL; each; each = each->next)
		if (!known(text_of(each))) {
			printf("%s", separator);
			write_text(text_of(each));
			separator = ",";
		}
	printf("]}\n");
}

static void answer_hello(void)
{
	int i;

	printf(",\"protocol\":1,\"name\":\"small nested model in C\",\"version\":\"1\","
	       "\"kernels\":[\"3.3\"],\"steps\":[%s],\"keys\":[", steps);
	for (i = 0; i < KEYS; i++)
		printf("%s\"%s\"", i ? "," : "", keys[i]);
	printf("]}\n");
}

static void answer_error(const char *problem, const char *detail)
{
	printf("\"answer\":\"error\",\"problem\":");
	write_text(problem);
	if (*detail)
		fprintf(stderr, "adapter: %s: %s\n", problem, detail);
	printf("}\n");
}

/* Answer one line; 0 after the last one. */
static int answer(char *line)
{
	const struct value *request = parse_line(line), *number;
	const char *name;

	number = member(request, "id");
	if (!number || number->kind != NUMBER) {
		printf("{\"id\":null,");
		answer_error("this is no request", "");
		return 1;
	}
	printf("{\"id\":%lld,", number->number);
	name = text_of(member(request, "request"));
	if (strcmp(name, "hello") == 0) {
		printf("\"answer\":\"hello\"");
		answer_hello();
	} else if (strcmp(name, "reset") == 0) {
		reset_machine(member(request, "config"));
		printf("\"answer\":\"reset\"}\n");
	} else if (strcmp(name, "step") == 0) {
		int done = do_step(member(request, "step"));

		printf("\"answer\":\"step\"%s}\n", done ? "" : ",\"unsupported\":true");
	} else if (strcmp(name, "observe") == 0) {
		printf("\"answer\":\"observe\"");
		answer_observe(member(request, "keys"));
	} else if (strcmp(name, "bye") == 0) {
		printf("\"answer\":\"bye\"}\n");
		return 0;
	} else {
		answer_error("unknown request", name);
	}
	return 1;
}

/* Read a line of any length, without its newline; NULL at the end of the input. */
static char *read_line(void)
{
	static char *line;
	static size_t room;
	size_t length = 0;
	int c;

	while ((c = getchar()) != EOF && c != '\n') {
		if (length + 2 > room) {
			room = room ? 2 * room : 4096;
			line = realloc(line, room);
			if (!line) {
				fprintf(stderr, "adapter: out of memory\n");
				exit(1);
			}
		}
		line[length++] = (char)c;
	}
	if (!line || (c == EOF && !length))
		return NULL;
	line[length] = '\0';
	return line;
}

int main(void)
{
	char *line;

	while ((line = read_line()) != NULL) {
		int more = answer(line);

		fflush(stdout);
		if (!more)
			break;
	}
	return 0;
}
